"""Reconciliation of log, store and index: whether what was acknowledged is stored once, and what is stored is indexed.

It asks the services by their rpcs, as any client does, and is part of none of them: `python -m treering_query.reconciliation` is the
program that `treering verify` starts. `verification` compares digests of runs of offsets and the ids of patterns; `absent` knows what a
store need not have. No more is imported than the SDK needs, so that the program runs where the command line alone is installed.
"""
