"""Programs that the command line starts on this machine: see `treering_runtime.commands`."""
