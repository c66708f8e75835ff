"""What stands around lines: containers' runtimes, the journal, OTLP, and arrays of records are opened.

An opener is given the flat fields of a JSON object that has its mark (`objects`), or a line of text (`lines`), and says what is inside: a
line of text with its envelope, an object, or a record. Lines of different streams of one container are lanes of their own, so that each is
joined with its own kind. What the inner text says of time, level and service wins over its envelope. Of lines that are joined, the envelope
of the first one is kept.
"""
