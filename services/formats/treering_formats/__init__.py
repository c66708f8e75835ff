"""From the text and JSON that other systems write to records: a library that reads what it is given and opens nothing.

`reader` finds lines in bytes (never fails, never loses one); `wrappers` are opened, so that what a container or the journal has written is
read as if it stood alone; `joining` makes one event of the lines that were written as one; `event_reader` reads an event by the first format
that fits: JSON (`json_line`), the formats of one program (`known`), the old logger's form (`old_form`), text (`text_line`); `fields` gives names
their roles, `times` reads times; `redaction` masks what must not be stored. `records` is all of them in a row, `catalog` the list for people.
What cannot be understood is kept: a line as a plain message, a value as an attribute under the name it came with.

Rules that are not obvious:

- A time without a zone is UTC. A time without a year (syslog, klog) is in the year that puts it closest before now.
- Epoch numbers: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds.
- Severity numbers are OpenTelemetry's (1 to 24); 10 and 20 under `level` or `levelno`, and 30, 40, 50 under any name, are Python's
  logging, unless `pid` and `hostname` stand beside them: then 10 to 60 are those of bunyan and pino.
- `status` is a severity only when it is a level word and nothing else names one.
- A record's own service and environment win over the ones that the caller gives.
- A JSON null says nothing and is left out.
"""
