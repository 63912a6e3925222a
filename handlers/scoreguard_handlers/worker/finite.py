"""Keep NaN and infinity out of answers: they are an error of the item, which names the stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scoreguard_handlers.errors import NotFiniteError


def check_finite(values: npt.NDArray[Any], stage: str, what: str, *, who: str = "") -> None:
    """Refuse what holds NaN or infinity.

    Args:
        values: the output of the stage.
        stage: its name, for the error's metadata.
        what: "an image", "a score": what it should have been.
        who: how a message refers to the stage, if not by its name.

    Raises:
        NotFiniteError: a value is not finite.
    """
    # A sum is not finite if one of its terms is not, and needs no second array.
    with np.errstate(invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return
    wrong = values.size - int(np.count_nonzero(np.isfinite(values)))
    raise not_finite(wrong, values.size, stage, what, who=who)


def not_finite(wrong: int, size: int, stage: str, what: str, *, who: str = "") -> NotFiniteError:
    """Return the error of a stage that gave `wrong` values that are not finite, out of `size`."""
    return NotFiniteError(
        f"{who or f'step {stage!r}'} gave no finite numbers for this image ({wrong} of {size} are NaN or "
        f"infinite where {what} should be): it has no score",
        metadata={"stage": stage, "not_finite": str(wrong)},
    )
