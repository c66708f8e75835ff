"""The embedding service: what logs mean.

A sink of the log. Of each delivery it keeps the *patterns* (service and masked message) that it has not seen before, in a *registry*
(`registry`, SQLite) together with how far it is in the log; the records themselves it forgets. In the background each new pattern is
*rendered* into two texts (`encoder.renderings`), *encoded* by the packaged model or any SentenceTransformer (`encoder`), and put into an
*index*, Qdrant (`index`). A search encodes its text, asks the index for the nearest patterns, and looks at the best of them word by word
(`search`, `encoder.late`). Cost of meaning: one run of the model for each new pattern, none for each record.

An index knows which model made it (`registry.notes`, `registry.ledgers`). For another model, or at a person's wish, a *successor* is made
beside it from the registry while it goes on answering (`engine.choice`, `indexing.reindexing`); one transaction of the registry swaps the
two.

In the data directory: `registry.sqlite` (the truth), `index/<identity>-<number>/` (made from it, at any time again), `encoder/<identity>/`
(the basis that its model's token vectors are projected on, without which the index is of no use), `FORMAT`, `LOCK`. An identity is a hash
of everything that vectors depend on; another model, another directory.
"""
