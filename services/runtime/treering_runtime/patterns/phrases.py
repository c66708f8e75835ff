"""What stands around masks: dates and their time zones, units, lists.

Each becomes part of the mask, so that neither the day of the week, nor the unit of a size, nor the length of a list makes a pattern.
"""

import re

from treering_runtime.patterns.mask import MASK

_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:day|sday|nesday|rsday|urday)?"
_MONTHS = {
    "Jan": "January", "Feb": "February", "Mar": "March", "Apr": "April", "May": "May", "Jun": "June",
    "Jul": "July", "Aug": "August", "Sep": "September", "Oct": "October", "Nov": "November", "Dec": "December",
}  # fmt: skip
_MONTH = f"(?:{'|'.join(sorted(set(_MONTHS) | set(_MONTHS.values()) | {'Sept'}, reverse=True))})"
_UNIT = (
    "(?:[KMGTPkmgtp]i?[Bb](?:ytes?|its?|ps)?(?:/s(?:ec)?)?|[Bb]ytes?|[Bb]its?|B|MILLISECONDS|SECONDS|MINUTES|HOURS|DAYS"
    "|(?:milli|micro|nano)?sec(?:ond)?s?|min(?:ute)?s?|h(?:ou)?rs?|days?|[numµ]?s|h|%|percent|[KMG]?Hz|rpm|[VAWC])"
)
_ZONE = r"(?:GMT|UTC|[ECMP][SD]T|CES?T|AM|PM|am|pm|a\.m\.|p\.m\.)"

_A_MONTH = re.compile(_MONTH)
_DATE = re.compile(rf"(?<![\w])(?:{_DAY},? )?(?:{_MONTH},? <\*>|<\*> {_MONTH}(?![\w]))")
_NEAR_MASK = re.compile(rf"<\*>(?:(?: ?[,;:|/-] ?| )<\*>| (?:{_UNIT}|{_ZONE})(?![\w<.]*\w|=))+")
_LESS_THAN_MASK = f"<{MASK}"
_MASK_IN_ANGLES = f"<{MASK}>"
_BRACKET_AFTER_MASK = re.compile(r">[({\[]<")
_WITH_BRACKETS = re.compile(r"<\*>(?:\(<\*>\)|\[<\*>\]|\{<\*>\})+")


def mask_phrases(tokens: list[str]) -> str:
    """Joins masked tokens by single spaces and lets masks take in what belongs to them."""
    text = " ".join(tokens)
    if MASK not in text:
        return text
    # Dates first: each becomes a mask, which is then joined with those beside it.
    if _A_MONTH.search(text):
        text = _DATE.sub(MASK, text)
    # The doubled form first: the second replacement would leave its closing angle.
    if _LESS_THAN_MASK in text:
        text = text.replace(_MASK_IN_ANGLES, MASK).replace(_LESS_THAN_MASK, MASK)
    text = _NEAR_MASK.sub(MASK, text)
    return _WITH_BRACKETS.sub(MASK, text) if _BRACKET_AFTER_MASK.search(text) else text
