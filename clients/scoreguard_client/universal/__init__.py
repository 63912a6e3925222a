"""Universal perturbations: one for all images, trained on a folder, kept as an artifact, applied at any size."""
