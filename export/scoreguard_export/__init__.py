"""Build time: metrics and defences, exported to archives that prove what they are."""
