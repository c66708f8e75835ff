"""The mask itself, the version of the rules that place it, and that of the ids that follow from them."""

RULES_VERSION = 2
"""Number of the masking rules, of which vectors depend: it changes whenever any rule does, and `MASK_VERSION` with it."""

MASK_VERSION = 3
"""Number of the rules and of how an id is made of what they leave. Ids of different versions do not mix."""

SAME_RULES = frozenset({2, MASK_VERSION})
"""Versions of one set of rules, whose ids differ. 2 made them by xxh3; what was stored then keeps its id."""

MASK = "<*>"
"""Stands for a variable part."""

SEPARATORS = r" \t\n\r\f\v\"'(){}\[\]<>,;=|"
"""Characters that end a token, for use inside a character class; the same for RE2 and for Python's `re`, whose `\\s` differ."""

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
"""Scripts that write a number and the words beside it without a space (Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean) and their
punctuation, for use inside a character class: they are wording, and end a token that holds a digit."""

END_OF_CLAUSE = ".:!?"
"""Punctuation that ends a clause when it ends a token: it stays outside of the mask."""
