"""What running a chain means, for all sides: parameters, sizes, tiles, sampling, randomness, smoothing, gradients."""
