"""Weights: where they live, how they are fetched and read."""
