"""Version 1 of the contracts: the messages, and the small codecs that belong to them."""
