"""What all sides share and the contracts do not need: the console, and shims for other libraries."""
