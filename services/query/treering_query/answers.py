"""Answers of bounded size: the writer that all services share, see `treering_runtime.answers`."""

from treering_runtime.answers import count_fitting, fitting, pieces

__all__ = ["count_fitting", "fitting", "pieces"]
