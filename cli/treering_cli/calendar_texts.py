"""Dates, times and intervals beyond what Python's own types hold, as text."""

_DAY_S = 86_400
_NANOS = 1_000_000_000
_INFINITE = {2**63 - 1: "infinity", -(2**63) + 1: "-infinity"}
_INFINITE_DAYS = {2**31 - 1: "infinity", -(2**31) + 1: "-infinity"}
_MONTHS_A_YEAR = 12


def timestamp_text(value: int, per_second: int) -> str:
    """A time in UTC of any year, or `infinity`, which is how the database writes one that is never reached."""
    if value in _INFINITE:
        return _INFINITE[value]
    seconds, rest = divmod(value, per_second)
    days, second = divmod(seconds, _DAY_S)
    return f"{_day(days)}T{clock(second * _NANOS + rest * (_NANOS // per_second))}Z"


def date_text(days: int) -> str:
    """A date, by its days since 1970."""
    return _INFINITE_DAYS.get(days) or _day(days)


def clock(nanos: int) -> str:
    """Hours, minutes and seconds with as many digits as are needed: none, 3, 6 or 9."""
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    seconds, fraction = divmod(nanos, _NANOS)
    digits = f".{fraction:09d}" if fraction else ""
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{digits}"


def interval_text(months: int, days: int, nanos: int) -> str:
    """An interval as the database writes it: `1 year 2 months 3 days 01:30:00`."""
    years, months = int(months / _MONTHS_A_YEAR), months - int(months / _MONTHS_A_YEAR) * _MONTHS_A_YEAR
    parts = [
        f"{count} {unit}{'' if abs(count) == 1 else 's'}" for count, unit in ((years, "year"), (months, "month"), (days, "day")) if count
    ]
    return " ".join([*parts, clock(nanos)] if nanos or not parts else parts)


def _day(days: int) -> str:
    """The date so many days after 1970-01-01 in the Gregorian calendar, extended both ways; Howard Hinnant's `civil_from_days`."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{'-' if year < 0 else ''}{abs(year):04d}-{month:02d}-{day_of_year - (153 * shifted + 2) // 5 + 1:02d}"
