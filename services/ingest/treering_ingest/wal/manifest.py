"""The manifest: which segments must be there, so that a file that went missing at either end is noticed."""

import json
from dataclasses import asdict, dataclass

import google_crc32c

from treering_ingest.wal.errors import CorruptLogError
from treering_ingest.wal.filesystem import FileSystem
from treering_ingest.wal.segment import FORMAT_VERSION

MANIFEST = "MANIFEST"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What must be in the directory.

    Args:
        log_id: The log.
        first_segment: Segments below are deleted, or about to be.
        last_segment: This one was created; the one after it may exist.
    """

    log_id: int
    first_segment: int
    last_segment: int


def write_manifest(files: FileSystem, manifest: Manifest) -> None:
    """Replaces the manifest so that a crash leaves the old one or the new one."""
    # `log_id` as text: it has 64 bits, and readers of JSON in other languages keep 53 of a number.
    line = json.dumps({"format": FORMAT_VERSION, **asdict(manifest), "log_id": f"{manifest.log_id:016x}"}).encode()
    # Written beside, synced, then renamed. In another order a crash could leave an empty or half-written manifest under the
    # name, and a log without a valid manifest is not opened.
    temporary = MANIFEST + ".tmp"
    file = files.create(temporary)
    try:
        file.append([line, b"\n%08x\n" % google_crc32c.value(line)])
        # Content before name: a rename that becomes durable before the content would show an empty file after a power cut.
        file.sync()
    finally:
        file.close()
    files.rename(temporary, MANIFEST)
    # Makes the rename durable. `Log.release` deletes segments only after this line.
    files.sync_directory()


def read_manifest(files: FileSystem) -> Manifest | None:
    """The manifest, or None in a directory without one.

    Raises:
        CorruptLogError: It is damaged or of a newer format.
    """
    # No manifest is a new log, or one whose manifest is lost; `open_log` tells them apart by the segments.
    if MANIFEST not in files.names():
        return None
    file = files.open(MANIFEST)
    try:
        line, _, rest = file.read(0, file.size()).partition(b"\n")
    finally:
        file.close()
    # The second line is the checksum of the first. A manifest that was cut off has none.
    if rest != b"%08x\n" % google_crc32c.value(line):
        raise CorruptLogError(MANIFEST, 0, "the checksum of the manifest does not fit")
    # The checksum was right, so this is what was written: JSON that cannot be read is no case.
    content = json.loads(line)
    # Before the other fields are read: a newer format may have others.
    if content["format"] > FORMAT_VERSION:
        raise CorruptLogError(MANIFEST, 0, f"format {content['format']} is newer than {FORMAT_VERSION}", "use a newer Treering")
    return Manifest(int(content["log_id"], 16), content["first_segment"], content["last_segment"])
