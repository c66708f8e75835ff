"""Starts the embedding service: `python -m treering_embed`."""

import asyncio
import sys
from functools import partial

from treering_embed.application import Application
from treering_embed.settings import EmbedSettings
from treering_runtime.data_dir import DataDir
from treering_runtime.errors import StartError
from treering_runtime.loop_lag import LoopLag
from treering_runtime.metrics_server import MetricsServer
from treering_runtime.server import announce, run, until_signalled
from treering_runtime.settings import load, names
from treering_runtime.telemetry import new_registry

FORMAT_VERSION = 1
"""Of the data directory: registry, index and prepared models."""


async def serve(settings: EmbedSettings) -> None:
    """Runs the service until a signal, or until its model turns out to be unusable."""
    # The lock first: a second embedded index over the same files would damage them.
    data_dir = DataDir(settings.data_dir, "treering-embed", FORMAT_VERSION)
    # It may be a directory inside the named one.
    settings = settings.model_copy(update={"data_dir": data_dir.path})
    collector = new_registry()
    LoopLag(asyncio.get_running_loop(), collector)
    metrics = MetricsServer(settings.metrics_listen, collector, names(settings.metrics_hosts))
    application = Application(settings, collector)
    await application.start()
    announce("embed", application.server, application.planes.inner, metrics)
    try:
        await application.run_until(until_signalled())
    # In reverse; the lock last, when nothing here writes any more.
    finally:
        await application.stop()
        metrics.close()
        data_dir.close()


def main() -> int:
    """The exit code: 0 after a drain, 1 when it could not start, 2 when the settings are wrong."""
    try:
        settings = load(EmbedSettings)
    except StartError as error:
        sys.stderr.write(f"treering embed: {error}\n")
        return 2
    return run(settings, partial(serve, settings))


if __name__ == "__main__":
    sys.exit(main())
