"""SearchLogs: records by what they say.

The order of one search, on one snapshot:

1. `request` checks what is asked for, `literals` finds what of it can be looked up letter by letter.
2. `pattern_texts` looks the literals up in the patterns; `scan` in messages, newest first, within a budget of time.
3. The filter becomes the patterns that may be found: services, or ids.
4. The embed service scores patterns by meaning (or `bm25` by words), once.
5. `ranking` orders: verbatim, then all identifiers, then the rest by score.
6. `samples` brings the records of what is shown.

`searcher` is this page as code.
"""
