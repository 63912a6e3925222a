"""What can go wrong with a universal perturbation.

ScoreguardError
└── UniversalError
    ├── PerturbationError   a file that holds no usable perturbation, or not the requested one
    ├── RecipeError         a training that cannot be done as requested
    └── CheckpointError     a file in the way of a training: damaged, or of another training
"""

from __future__ import annotations

from scoreguard_client._exceptions import ScoreguardError


class UniversalError(ScoreguardError):
    """Base of what can go wrong with a universal perturbation."""


class PerturbationError(UniversalError):
    """A file that holds no usable perturbation, or not the requested one."""


class RecipeError(UniversalError):
    """A training that cannot be done as requested."""


class CheckpointError(UniversalError):
    """A file in the way of a training: damaged, or of another training."""
