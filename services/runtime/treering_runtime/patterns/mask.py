"""The mask itself and the version of the rules that place it."""

MASK_VERSION = 2
"""Number of the masking rules. Ids of different versions do not mix; it changes whenever any rule does."""

MASK = "<*>"
"""Stands for a variable part."""

SEPARATORS = r" \t\n\r\f\v\"'(){}\[\]<>,;=|"
"""Characters that end a token, for use inside a character class; the same for RE2 and for Python's `re`, whose `\\s` differ."""

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
"""Scripts that write a number and the words beside it without a space (Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean) and their
punctuation, for use inside a character class: they are wording, and end a token that holds a digit."""

END_OF_CLAUSE = ".:!?"
"""Punctuation that ends a clause when it ends a token: it stays outside of the mask."""
