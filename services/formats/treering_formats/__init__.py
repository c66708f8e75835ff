"""From the text and JSON that other systems write to records: a library that reads what it is given and opens nothing.

`reader` finds lines in bytes (never fails, never loses one); `wrappers` are opened, so that what a container or the journal has written is
read as if it stood alone; `joining` makes one event of the lines that were written as one; `event_reader` reads an event by the first
format that fits: JSON (`json_line`), those of one program (`known`), the old logger's form (`old_form`), text (`text_line`). The front
of a text is read by `front`, forms with parts of their own by `text_forms`. `roles` has the names that mean something, `fields` makes
records of fields, `times` (with `dates`, `zones` and `calendar_names`) reads times, `levels` reads levels; `redaction` masks what must not
be stored. `records` is all of them in a row, `catalog` the list for people. What cannot be understood is kept: a line as a plain message, a
value as an attribute under the name it came with. The database of time zones is the system's; it is all that is read from outside.

docs/formats.md has the rules, with every reading that could be another one. Rules that are not obvious:

- A time without a zone is in the zone that the caller gives, by default UTC. A time without a year is in the latest year that puts it not
  more than a day ahead.
- Epoch numbers: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds; before the year 2000 they are none.
- Numbers of levels have the scale that the keys beside them tell. `status` is a severity only when it is a level word and nothing else
  names one.
- A record's own service and environment win over the ones that the caller gives.
- Of a key that comes twice the last value counts, and the others are `treering.duplicate.KEY`.
- A JSON null is the text null; under a name that means more than an attribute it says that there is none.
"""
