"""What the services of the fleet are called and talk about."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """One line of business: the services that share it, what they handle, and where that lives."""

    services: tuple[str, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]
    troubles: tuple[str, ...]


DOMAINS = (
    Domain(
        ("checkout", "cart", "order-router", "promotions"),
        ("order", "basket", "discount code", "delivery slot", "gift card"),
        ("order store", "pricing engine", "stock service", "session cache"),
        ("stock reservation expired", "price changed during checkout", "coupon already redeemed", "delivery slot is gone"),
    ),
    Domain(
        ("payments", "ledger", "payouts", "fraud-check"),
        ("payment", "refund", "card token", "settlement file", "chargeback"),
        ("card network", "ledger database", "bank gateway", "risk model"),
        ("issuer declined the card", "gateway timed out", "ledger entry does not balance", "signature mismatch"),
    ),
    Domain(
        ("auth", "session-gateway", "accounts", "permissions"),
        ("session", "access token", "password reset", "account", "role grant"),
        ("identity provider", "token store", "directory", "audit trail"),
        ("token expired", "too many failed attempts", "signing key is unknown", "account is locked"),
    ),
    Domain(
        ("inventory", "warehouse", "picking", "shipping"),
        ("parcel", "pallet", "stock level", "shipping label", "pick list"),
        ("carrier interface", "shelf scanner", "stock ledger", "label printer"),
        ("scanner went offline", "label rejected by carrier", "count differs from ledger", "shelf is blocked"),
    ),
    Domain(
        ("search-api", "indexer", "recommender", "catalog"),
        ("query", "document", "ranking model", "facet", "suggestion list"),
        ("index shard", "feature store", "synonym file", "catalog feed"),
        ("shard did not answer", "mapping conflict", "feature vector is stale", "feed is incomplete"),
    ),
    Domain(
        ("mailer", "push-gateway", "webhooks", "notifications"),
        ("message", "template", "subscription", "callback", "digest"),
        ("mail relay", "device registry", "callback queue", "template store"),
        ("recipient rejected", "endpoint answered with an error", "device token is gone", "rate limit of the provider reached"),
    ),
    Domain(
        ("edge-proxy", "load-balancer", "dns-cache", "cdn-purge"),
        ("request", "upstream connection", "certificate", "route", "cache entry"),
        ("origin", "upstream pool", "edge cache", "resolver"),
        ("upstream closed the connection", "certificate is about to expire", "no healthy upstream", "handshake failed"),
    ),
    Domain(
        ("scheduler", "job-runner", "cron", "batch-export"),
        ("job", "worker lease", "export", "retry", "schedule"),
        ("work queue", "lease table", "object storage", "worker pool"),
        ("lease was lost", "job exceeded its deadline", "worker did not report back", "output is incomplete"),
    ),
    Domain(
        ("postgres", "replicator", "cache", "backup"),
        ("transaction", "checkpoint", "replication slot", "snapshot", "connection"),
        ("primary", "standby", "archive", "buffer pool"),
        ("deadlock detected", "replica is lagging behind", "checkpoint takes too long", "out of connection slots"),
    ),
    Domain(
        ("kubelet", "node-agent", "autoscaler", "image-registry"),
        ("container", "volume", "pod sandbox", "image layer", "node lease"),
        ("container runtime", "image store", "control plane", "network plugin"),
        ("liveness probe failed", "memory limit reached", "image pull backed off", "disk pressure"),
    ),
)

DEEDS = ("accepted", "stored", "loaded", "scheduled", "forwarded", "verified", "updated", "released", "replayed", "archived", "merged")
"""What goes well."""

STATES = ("queued", "warming up", "in progress", "half done", "paused", "ready", "draining", "catching up")
"""What is under way."""

REMEDIES = ("retrying", "giving up", "falling back to the replica", "serving a stale copy", "asking the operator", "rolling back")
"""What is done about a trouble."""

_PLAIN_WORDS = """
amber anchor antenna apron arrow badge balloon barrel basin beacon bellows blanket bolt bottle bracket branch bridge
bucket button cabin cable candle canvas carpet castle chain chimney cinder circle clamp clock cloud coil column compass
copper corner cradle crane curtain dagger desert diamond drawer drum engine fabric feather fence ferry filter flange
forest fossil frame funnel garden garnet gear glacier glove granite grove hammer handle harbour hedge helmet hinge
hollow horizon island ivory jacket jungle kernel kettle ladder lantern lever linen lobby magnet mantle marble meadow
mirror mortar needle nozzle orchard oyster paddle panel parcel pebble pencil pepper piano pillar pipe plaster pocket
prism pulley quarry quilt ribbon river rocket roller rudder saddle sailor sapphire scarf shelter shovel signal silver
socket spindle spring station stirrup summit tablet temple thimble thunder timber tower tractor trellis tunnel turbine
valley valve velvet vessel village violin wagon walnut warden whistle willow window winter yarn zenith
"""

NOVEL = tuple(_PLAIN_WORDS.split())
"""Plain words for records of a kind that never was before."""
