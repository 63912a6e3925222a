"""The scoring side: an archive, its chain, and the requests to it."""
