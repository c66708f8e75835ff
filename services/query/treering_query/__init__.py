"""The query service: keeps what was logged, and answers everything that people ask about it.

It is a sink of the log. New records are *hot*: Arrow batches in memory, visible at once. From time to time the hot records are
*sealed* into one immutable Parquet segment; the commit of the segment's row in the catalog is the seal, and from then on the log may
forget them. After a crash the log delivers again what was not sealed.

A question runs on a *snapshot*, which is one moment of hot and sealed together. Questions that we wrote run in this process, on
threads that a deadline can interrupt (`view.engine`). SQL that people wrote runs in a process of its own that can reach nothing but
the records (`sql`).
"""
