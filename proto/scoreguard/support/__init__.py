"""Helpers that all sides share but the contracts do not need: the console, and shims for other libraries."""
