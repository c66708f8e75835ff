"""Texts inside a statement, for what takes no parameters: the definition of a view, names of files, names of fields."""


def quoted(text: str, quote: str = "'") -> str:
    """A text in quotes. Those in it are doubled, and nothing else ends a text in DuckDB."""
    return quote + text.replace(quote, 2 * quote) + quote
