"""Files that grow, sent so that each line is stored once: `treering follow` and `treering send --once`.

What makes a line come once, in the order of the steps:

1. Records are gathered into a batch. A batch is encoded once, and is written, with the positions that hold after it, into the database of
   positions (`positions`): one transaction, on disk before the batch is sent.
2. It is sent under this directory's producer id and the next sequence until ingest has acknowledged it. Ingest knows a repeat by id,
   sequence and bytes, and stores it once.
3. One transaction puts the positions in force, raises the sequence and forgets the batch.

After a crash between 1 and 3 the next start sends the same bytes under the same sequence. It does not read the files for that, so it does
not matter whether they still have these lines, or whether another version would cut or read them differently. After a crash before 1
nothing of the batch was sent, and the lines are read again from the position before. There is one batch on its way at a time.

A position is where reading must begin again, not where it has come to: a record that waits for lines that might join it begins behind it
(`RecordReader.held_from`). Records that were given although they begin behind that place, as with two streams in one file, are listed
beside it (`Position.beyond`) and left out when they are read again.

Nothing depends on a rotation being seen. At each look every file beside a log that was not passed over as it is now is compared by content
(`Files.parts`): it has the rest of what a position knows, or is a copy of what is being read, or came and was rotated away unseen. What
cannot be told yet, as a copy in the making, is left for the next look. A followed log is noted at its first look, before anything of it is
read, so that the next process knows from when on its parts count.

`content` reads bytes of a file by their offset, packed or not. `mark` knows content again wherever it is: by its first kilobyte and by the
last one before the position. `tracked` makes records of one file's content. `parts` lists the files beside a log, `copies` compares them,
`passed` remembers which need not be opened again. `files` decides which content belongs to which position, over renaming, truncation,
copies, packing and restarts. `shipping` does the three steps, `follower` calls the others in turn.
"""
