"""The contracts of scoreguard: everything that two of its parts say to each other."""
