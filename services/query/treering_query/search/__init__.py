"""SearchLogs: records by what they say.

The order of one search, on one snapshot:

1. `request` checks what is asked for, `literals` finds what of it can be looked up letter by letter.
2. The filter becomes the patterns that may be found: services, or ids.
3. `pattern_texts` looks the literals up in the patterns; `scan` in messages, newest first, within a budget of time.
4. The embed service scores patterns by meaning (or `bm25` by words), once.
5. `ranking` orders: verbatim, then all identifiers, then the rest by score.
6. `answer` brings the records of what is shown (`reading.samples`), and the cursor to what is not.

`searcher` begins and ends it, `finding` is steps 2 and 3; `like` does the same for a record instead of words.
"""
