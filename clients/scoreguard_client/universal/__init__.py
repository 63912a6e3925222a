"""Universal perturbations: one for all pictures, trained on a folder, kept as an artifact, applied at any size."""
