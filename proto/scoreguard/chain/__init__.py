"""How a chain runs, on every side: parameters, sizes, tiles, sampling, randomness, smoothing, gradients."""
