"""Opening a log for writing: the files that are there, or new ones."""

import os
from collections.abc import Callable

from treering_ingest.wal.config import LogConfig
from treering_ingest.wal.errors import CorruptLogError
from treering_ingest.wal.filesystem import FileSystem
from treering_ingest.wal.log import Log
from treering_ingest.wal.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from treering_ingest.wal.recovery import recover, segment_names
from treering_runtime.clocks import SteadyClock


def open_log(files: FileSystem, config: LogConfig | None = None, clock: Callable[[], int] | None = None) -> Log:
    """Opens the log in a directory for writing, or creates it. Nobody else may have it open for writing.

    Ages of segments count by `clock` (nanoseconds since 1970), by default one that does not leap with the clock of the machine.

    Raises:
        CorruptLogError: It is damaged: file, position, and what to do.
    """
    manifest = read_manifest(files)
    if manifest is None:
        # A new manifest would hide that segments are missing, or begin again at offset 0 with offsets that sinks have seen.
        if segment_names(files):
            raise CorruptLogError(MANIFEST, 0, "the manifest is missing, but there are segments")
        # Never 0, which names no log in the contract. Of no segment yet: `last_segment` is raised when the first one has its name.
        manifest = Manifest(int.from_bytes(os.urandom(8), "little") or 1, 1, 0)
        # Before the first segment: after a crash here the next start finds a log without segments, not segments without a manifest.
        write_manifest(files, manifest)
    config = config or LogConfig()
    log = Log(files, config, manifest, clock or SteadyClock())
    # Nobody has the log before all of it is looked at: an append behind bytes that are damaged would make them part of the history.
    log.resume(recover(files, manifest, config.max_producers, config.verify_at_start_bytes))
    return log
