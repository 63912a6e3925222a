"""Where the numbers that a defence rounds stand between two thresholds, and how to push them over the next one."""
