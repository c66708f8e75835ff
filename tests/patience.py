"""How long a test waits for one thing."""

PATIENCE_S = 100
"""For one process to end, one rpc to answer, one thread to get somewhere, seconds.

It says nothing about speed: beside sixteen busy processes everything takes ten times as long. It is below the limit of a test, so that the
test fails at what it waited for.
"""
