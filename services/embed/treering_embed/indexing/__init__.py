"""Vectors into the index: the task that fills it, the life of the engine, a successor for another model, checks against the registry."""
