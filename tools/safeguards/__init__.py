"""The mutants: for each safeguard of the product one small edit that takes it away, a module for each part of the code."""

from safeguards import embed, formats, ingest, query, runtime, sdk, wal
from safeguards.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = wal.MUTANTS + ingest.MUTANTS + runtime.MUTANTS + query.MUTANTS + embed.MUTANTS + sdk.MUTANTS + formats.MUTANTS
