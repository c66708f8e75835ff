"""Load for benchmarks: log records with the variety of a real fleet, the same for the same seed, ready to send.

- `words` and `grammar` make the templates: some forty services, each with its own things, deeds and troubles, about 500 templates;
- `variables` fills their gaps: ids, addresses, durations, sizes, paths, names;
- `records` draws records: Zipf over the templates, bursts of one template, 0.005 % records of a kind never seen before;
- `patterns` draws records of which each is a kind of its own;
- `batches` serialises a pool of them once and hands out as many different batches as are wanted at the price of a copy;
- `sender` puts the bytes on the wire as they are.
"""

from load.batches import BatchPool, Conditions

__all__ = ["BatchPool", "Conditions"]
