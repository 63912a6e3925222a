"""Weights: their sources, fetching and reading them."""
