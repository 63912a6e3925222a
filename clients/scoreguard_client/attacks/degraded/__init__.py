"""Degraded copies in a campaign: worse images, which a chain should score below the original. They are no attacks."""
