"""Two hundred fixed texts in the language of logs and of people who ask about them.

They decide whether the fast path agrees with the reference, give the basis that token vectors are projected on, and say which
wordpieces are common before the registry can. Changing one changes the index's identity.
"""

_SUBJECTS = (
    "payment gateway", "login service", "ssh daemon", "database replica", "message broker", "file system", "network interface",
    "memory controller", "batch scheduler", "web server", "certificate store", "user session", "virtual machine", "backup job",
    "search index", "cache node", "mail relay", "kernel module", "load balancer", "container runtime",
)  # fmt: skip

_EVENTS = (
    "refused the connection because too many clients were waiting", "timed out after 30 seconds and will be retried",
    "started and listens on port <*>", "ran out of space while writing /var/lib/<*>",
    "rejected an invalid password for user <*> from address <*>", "finished: <*> items copied, 0 failed",
    "lost its leader, a new election begins", "detected a corrupt checksum and corrected it",
    "was killed with exit code 137", "upgraded its configuration from version 2 to 3",
)  # fmt: skip

_LINES = SAMPLE_TAIL = ()

TEXTS: tuple[str, ...] = tuple(f"{subject}: {event}" for subject in _SUBJECTS for event in _EVENTS)
"""The texts."""
