"""Training of the metrics that this package ships: photographs → distorted crops → labels → weights."""
