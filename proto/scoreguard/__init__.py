"""The contracts of scoreguard: everything that its parts exchange."""
