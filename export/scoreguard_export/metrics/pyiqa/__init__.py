"""Metrics of the library pyiqa through the same path as our own; nothing else here imports it."""
