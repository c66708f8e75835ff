"""What goes wrong on the shop's day: four stories, each a window of time with the lines that are written in it.

The main one: at 13:58 a deploy of payments shrinks its database pool from 40 connections to 8; the pool runs dry, checkout times out and
retries, the retries make it worse, customers cannot pay; at 14:26 the deploy is rolled back. Beside it the disk of one inventory node dies
slowly, somebody guesses passwords at night, and a carrier's interface goes away for an hour.

Rows are written as in `lines.py`; the weight is the number of such lines in the window.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Lines of one service between two times of the day (`HH:MM`)."""

    start: str
    end: str
    service: str
    rows: str


INCIDENT = (
    Window(
        "13:58",
        "14:01",
        "payments",
        """
        1   INFO  op=deploy version=4.12.0 commit={hex} by=ci change="database pool settings moved to pool.yaml"
        8   INFO  op=start version=4.12.0 host={host} pool_max=8
        8   INFO  op=stop version=4.11.3 host={host} drained=true
    """,
    ),
    Window(
        "14:02",
        "14:29",
        "payments",
        """
        420 ERROR op=pool.acquire result=timeout waited_ms={slow} in_use=8 idle=0 waiting={n} ~ duration_ms={slow}
        260 WARN  op=pool.stats in_use=8 idle=0 waiting={n}
        180 ERROR could not get a database connection: all 8 connections of the pool are in use, {n} callers are waiting
        90  ERROR op=authorize order={order} result=error cause=PoolExhausted took_ms={slow}\\njava.sql.SQLTransientConnectionException: HikariPool-1 - Connection is not available, request timed out after {slow}ms\\n\\tat com.zaxxer.hikari.pool.HikariPool.createTimeoutException(HikariPool.java:{n})\\n\\tat shop.payments.Ledger.begin(Ledger.java:{n})\\n\\tat shop.payments.Authorize.run(Authorize.java:{n}) ~ order={order} duration_ms={slow}
        40  WARN  op=sql.query name=find_payment took_ms={slow} slow=true ~ duration_ms={slow}
        12  FATAL op=health result=failing cause="no connection for {n} s" action=restart
    """,
    ),
    Window(
        "14:02",
        "14:30",
        "checkout",
        """
        520 WARN  Payment for order {order} did not answer within 10 s, attempt {try} of 3 ~ order={order}
        210 ERROR Gave up on the payment of order {order} after 3 attempts, the customer sees an error page ~ order={order} amount={amount}
        60  ERROR Order {order} is paid twice: the first attempt had gone through after all ~ order={order} amount={amount}
        14  WARN  Circuit breaker to payments opened after {n} failures
        14  INFO  Circuit breaker to payments is half open, letting one request through
        30  WARN  Thread pool checkout-worker is saturated: {n} tasks are waiting
    """,
    ),
    Window(
        "14:02",
        "14:30",
        "gateway",
        """
        340 ERROR POST /checkout 504 10000ms ~ client={ip} http.status=504 duration_ms=10000
        120 ERROR POST /checkout 503 {small}ms ~ client={ip} http.status=503 duration_ms={small}
        20  WARN  upstream checkout on {host} is failing its health check, taken out of rotation
    """,
    ),
    Window(
        "14:05",
        "14:50",
        "mailer",
        """
        60  WARN  Order confirmation for {order} delayed: the payment is still pending ~ order={order}
        24  INFO  Queued apology for {email} ~ template=payment-problem
    """,
    ),
    Window(
        "14:08",
        "14:40",
        "inventory",
        """
        90  WARN  reservation {uuid} held longer than {n} s because its order is unpaid ~ node={node}
    """,
    ),
    Window(
        "14:26",
        "14:31",
        "payments",
        """
        1   INFO  op=rollback version=4.11.3 by=oncall reason="connections of the database pool run out since 4.12.0"
        8   INFO  op=start version=4.11.3 host={host} pool_max=40
        1   INFO  op=health result=ok after_s={n}
    """,
    ),
    Window(
        "14:30",
        "14:32",
        "checkout",
        """
        8   INFO  Circuit breaker to payments closed, traffic is back to normal
    """,
    ),
    Window(
        "14:40",
        "15:30",
        "payments",
        """
        60  INFO  op=refund order={order} amount={amount} reason=charged_twice result=ok ~ order={order}
        1   INFO  op=reconcile window=incident matched={n} unmatched={n}
    """,
    ),
)
"""The connection pool of the payments database runs dry after a deploy."""

DISK = (
    Window(
        "09:40",
        "16:05",
        "inventory",
        """
        18  WARN  smartd: device /dev/sdb on node-7, reallocated sector count went up to {n} ~ node=node-7
        6   WARN  smartd: device /dev/sdb on node-7, {small} currently unreadable (pending) sectors ~ node=node-7
        9   WARN  writing snapshot {file} took {slow} ms ~ node=node-7 duration_ms={slow}
    """,
    ),
    Window(
        "16:05",
        "17:02",
        "inventory",
        """
        44  ERROR blk_update_request: I/O error, dev sdb, sector {bytes} op WRITE ~ node=node-7
        20  ERROR could not write snapshot {file}: Input/output error ~ node=node-7
        6   ERROR checksum mismatch in journal block {n}, block skipped ~ node=node-7
    """,
    ),
    Window(
        "17:02",
        "17:06",
        "inventory",
        """
        1   FATAL EXT4-fs error (device sdb): remounting filesystem read-only ~ node=node-7
        1   WARN  node-7 lost its storage, leadership moves to node-3 ~ node=node-3
        1   INFO  node-3 is the leader now, {n} entries replayed ~ node=node-3
    """,
    ),
)
"""The disk of node-7 dies slowly; the stock service moves away from it."""

BREAK_IN = (
    Window(
        "03:10",
        "03:26",
        "auth",
        """
        640 WARN  Failed password for invalid user {guess} from {attacker} port {port} ~ client={attacker}
        210 WARN  Failed password for root from {attacker} port {port} ~ client={attacker}
        36  WARN  Connection from {attacker} closed: too many authentication failures ~ client={attacker}
        3   WARN  address {attacker} is locked out for {n} minutes ~ client={attacker}
    """,
    ),
)
"""Somebody guesses passwords at night."""

CARRIER = (
    Window(
        "10:30",
        "11:35",
        "shipping",
        """
        70  ERROR Northwind interface is not reachable: connection refused, label for order {order} postponed ~ order={order}
        12  WARN  {n} labels are waiting for Northwind
        1   INFO  Northwind is reachable again, printing {n} postponed labels
    """,
    ),
)
"""A carrier's interface goes away for an hour."""

STORIES = (*INCIDENT, *DISK, *BREAK_IN, *CARRIER)
