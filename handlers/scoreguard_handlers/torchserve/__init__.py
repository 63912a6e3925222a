"""TorchServe: its process, its files, its requests, and the entry that it calls."""
