"""What every Treering service is made of.

A service is a directory with a format version and a lock (`data_dir`), settings (`settings`), handlers behind one
boundary that turns domain errors into typed status codes (`errors`, `boundary`), and a gRPC server with health,
reflection, metrics and a graceful drain (`server`, `telemetry`). `service` puts them together, in the same order for each.

A service that consumes the log is a *sink*: it implements `sink.Sink`, keeps its progress on a `progress.ProgressBoard`,
and gets its records as columns (`columns`) with their patterns (`patterns`).
"""
