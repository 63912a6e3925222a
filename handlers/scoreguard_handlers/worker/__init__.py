"""What scores: an archive, its chain, and one request after another."""
