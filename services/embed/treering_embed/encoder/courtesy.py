"""New patterns give way: whoever waits for records or for an answer needs the processor now, vectors of new patterns can come later.

In a burst of new patterns the model could use every core for minutes. It shares them with all that takes the log, on this machine and in
this process; so after a run that had to share, the next one waits. What tells is the run itself: it computes from its start to its end, so
its thread's processor time falls short of its duration by as long as the thread was kept from a core. Bulk transfers give way in the same
manner on a network whose delay has grown (LEDBAT, RFC 6817): nothing has to be known of the others.
"""

from treering_embed.limits import COURTESY, MAX_COURTESY_S, UNSHARED


def pause_after(duration_s: float, computed_s: float) -> float:
    """How long new patterns wait, in seconds, after a run that took `duration_s` and whose thread computed for `computed_s` of it."""
    kept_away = duration_s - computed_s
    return min(COURTESY * kept_away, MAX_COURTESY_S) if computed_s < UNSHARED * duration_s else 0.0
