"""Universal perturbations as artifacts: files, recipes, tiling."""
