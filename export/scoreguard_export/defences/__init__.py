"""The purification defences: one file each."""
