"""The mask itself and the version of the rules that place it."""

MASK_VERSION = 1
"""Number of the masking rules. Ids of different versions do not mix; it changes whenever any rule does."""

MASK = "<*>"
"""Stands for a variable part."""

SEPARATORS = r" \t\n\r\f\v\"'(){}\[\]<>,;=|"
"""Characters that end a token, for use inside a character class; the same for RE2 and for Python's `re`, whose `\\s` differ."""

END_OF_CLAUSE = ".:!?"
"""Punctuation that ends a clause when it ends a token: it stays outside of the mask."""
