"""The parts of `scripts/gpu_check.py`: what is measured on a GPU, and the page that is made of it."""
