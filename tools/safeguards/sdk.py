"""Safeguards of the SDK and of the command line."""

from safeguards.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = ()
