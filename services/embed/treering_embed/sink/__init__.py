"""Deliveries: frames become patterns that the registry keeps."""
