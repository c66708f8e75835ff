"""The store: takes deliveries, seals, shows, expires. Everything above asks it through `view`."""
