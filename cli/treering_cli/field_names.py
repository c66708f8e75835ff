"""Names of fields as people list them."""

import re


def field_names(text: str) -> list[str]:
    """The names in a list such as `service,status,about:card declined`; a text after `about:` may hold commas and ends it."""
    names, about, asked = re.fullmatch(r"(.*?)(?:(?<![^,\s])(about:)(.*))?", text, re.DOTALL).groups()  # type: ignore[union-attr]
    return [*(name.strip() for name in names.split(",") if name.strip()), *([about + asked.strip()] if about else [])]
