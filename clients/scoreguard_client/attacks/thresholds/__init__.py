"""Positions of the numbers that a defence rounds between two thresholds, and how to push them over the next one."""
