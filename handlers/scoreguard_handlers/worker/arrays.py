"""The array type of the chain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
"""float32; images are (N, 3, H, W) in [0, 1] unless stated otherwise."""
