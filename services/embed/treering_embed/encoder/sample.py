"""Two hundred fixed texts in the language of logs and of people who ask about them.

They decide whether the fast path agrees with the reference, give the basis that token vectors are projected on, and say which
wordpieces are common before the registry can. Whoever changes one raises `prepare._RECIPE`, which is part of the index's identity.
"""

_WHO = (
    "checkout/payments", "auth-gateway", "sshd[2211]", "postgres replica", "orders.events.consumer", "ext4 volume", "eth0 interface",
    "memory controller", "cron batch scheduler", "nginx edge", "certificate store", "com.shop.SessionManager", "virtual machine",
    "nightly backup", "SearchIndexer", "redis cache node", "smtp relay", "kernel module", "load balancer", "container runtime",
    "dhcp server", "object storage", "inventory_sync worker", "dns resolver", "printer spooler", "raid array", "job executor",
    "zookeeper quorum peer", "mobile app api", "firewall", "thermal sensor", "garbage collector", "feature flags", "ldap directory",
    "video transcoder", "compute hypervisor", "block device", "fraud detection", "shipping labels", "audit trail",
)  # fmt: skip

_WHAT = (
    "connection refused by <*>: too many clients are waiting", "request timed out after 30000 ms, retry 2 of 5",
    "listening on 0.0.0.0 port <*>, ready to accept traffic", "no space left on device while writing /var/lib/data/<*>",
    "Failed password for invalid user <*> from 10.0.0.7", "copied 118 files in 4.2 seconds, 0 errors",
    "leader lost; starting a new election in epoch <*>", "checksum mismatch detected and corrected at address 0x7ffe12",
    "process killed with exit status 137, out of memory", "configuration reloaded, version 2 replaces version 3",
    "user <*> logged in; session opened with role administrator", "session closed: idle for more than 15 minutes",
    "authentication failure; account locked after repeated attempts", "certificate expires in 3 days and must be renewed",
    "replication lag of 42 s behind the primary", "transaction rolled back because of a deadlock",
    "slow query: select from customers took 8123 ms", "message published to topic invoices partition 4",
    "consumer group rebalanced, 3 members left", "block <*> replicated to three nodes, size 67108864",
    "deleting stale temporary files older than one week", "cache miss ratio is above the threshold",
    "HTTP GET /api/v1/products?page=2 returned status 503", "upstream server closed the connection prematurely",
    "temperature too high, fan speed raised to maximum", "link is down; switching to the standby cable",
    "device reset after an unrecoverable hardware error", "instance spawned successfully on host <*>",
    "shutting down gracefully, waiting for 12 tasks to finish", "unexpected NullPointerException in thread main",
    "cannot resolve the host name, temporary failure", "permission denied for directory /home/<*>/private",
    "rate limit exceeded by tenant <*>, requests are rejected", "payment of 49.90 EUR declined by the issuing bank",
    "order <*> shipped to the customer in Lisbon", "stock level of item <*> is negative, manual check needed",
    "disk quota reached by group students", "firmware upgrade from 1.4.2 to 1.5.0 completed",
    "scheduled task skipped: the previous run is still active", "packet dropped, invalid source address",
    "parsing error at line 17, column 3: unexpected token", "received signal 15, terminating the daemon",
    "lease renewed for 86400 seconds by <*>", "heartbeat missed three times, marking the worker as dead",
    "rows inserted: 5000, updated: 12, duplicates ignored", "snapshot uploaded to the remote bucket",
    "clock drift of 250 milliseconds against the time source", "suspicious activity: possible break-in attempt",
    "volume mounted read-only after journal corruption", "debug trace enabled, verbosity 4",
)  # fmt: skip

_ASKED = (
    "why can nobody sign in since this morning", "which machines are running hot", "did last night's copy of the data succeed",
    "someone keeps guessing credentials", "who changed the settings", "customers cannot pay", "what crashed right before the outage",
    "hard drive is about to die", "the web site answers slowly", "jobs that never finish", "network cable unplugged",
    "new software version rolled out", "the machine ran out of memory", "orders lost between two systems",
    "where is the time being spent", "services that were restarted", "is the cluster without a leader", "emails were not delivered",
    "data written twice", "everything back to normal",
)  # fmt: skip

_COUNT = 200

TEXTS: tuple[str, ...] = _ASKED + tuple(
    f"{_WHO[number % len(_WHO)]}: {_WHAT[number * 7 % len(_WHAT)]}" for number in range(_COUNT - len(_ASKED))
)
"""The texts."""
