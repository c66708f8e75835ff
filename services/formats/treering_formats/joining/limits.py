"""What one event may hold."""

MAX_EVENT_CHARACTERS = 256 * 1024
"""Characters of an event of several lines: with four bytes a character it is as large as the largest record."""

MAX_EVENT_LINES = 5_000
"""Lines of an event. The deepest stack that a JVM prints by default has 1,024 frames, and causes follow it."""

MAX_STRAY_LINES = 500
"""Lines of an event that belong to it only because they have no head."""

MAX_JSON_CHARACTERS = 16 * 1024 * 1024
"""Characters of a JSON text over several lines: as much as a line may have, because it may hold many records."""

MAX_HELD_EVENTS = 1_000
"""Events of all lanes that wait for an earlier one of a lane that went silent."""

MAX_LANES = 256
"""Lanes at a time; beyond, all are ended and begin anew."""
