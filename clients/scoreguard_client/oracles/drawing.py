"""Base of oracles with a random chain: facts, the calls of the last query, and copies with other draws."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import numpy.typing as npt

from scoreguard_client.oracles.base import OracleFacts
from scoreguard_client.oracles.seeds import Questions, draws_each


class Drawing:
    """An oracle that answers with the mean over several draws of its chain."""

    _facts: OracleFacts
    _draws: int | Sequence[int]
    _questions: Questions
    _last_calls: npt.NDArray[np.int64]

    @property
    def facts(self) -> OracleFacts:
        """The metric's range and direction, and the chain before it."""
        return self._facts

    @property
    def last_calls(self) -> npt.NDArray[np.int64]:
        """Calls that the last query cost each image, (N,): its draws, and each resend."""
        return self._last_calls

    def with_draws(self, draws: int | Sequence[int]) -> Self:
        """Return the same oracle with `draws` draws per query, for all images or for each; fixed chains keep one.

        Raises:
            ValueError: a number is below 1.
        """
        twin, most = copy.copy(self), max(draws_each(draws, 1 if isinstance(draws, int) else len(draws)))
        if self._facts.random:
            twin._draws, twin._facts = draws, replace(self._facts, calls_per_question=most)
            twin._questions = self._questions.apart()
        return twin
