"""The regions that attacks search: what a budget allows around a clean image, held exactly."""
