"""Everyday edits: what anybody can do to an image without gradients and without asking the metric."""
