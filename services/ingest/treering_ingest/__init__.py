"""The door of Treering: records come in, are made durable, and are handed on.

The life of a batch: a handler (`service`) gets its bytes; `admission` checks them; `intake` gives the batch its place in the order, unless
its producer (`producers`) has sent it before; the `committer` writes it to the log (`wal`) together with everything else that waits, syncs
once, and only then the sender is told (`upload`). One `delivery` a sink reads the durable log from the file and sends it on; `retention`
deletes what every sink has safe. `process` puts them together.

Ingest knows nothing of patterns, vectors, columns or SQL, and imports no library for them.
"""
