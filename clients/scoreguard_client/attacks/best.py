"""The best images that a search has seen, kept separately for each image of a batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.base import SearchResult
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import column, functions, one_each
from scoreguard_client.oracles.base import Images, Scores

Marks = npt.NDArray[np.bool_]
"""A truth value for each image, (N,)."""


class Best:
    """The best of the images passed to `update`."""

    def __init__(self, clean: Images) -> None:
        self.images = clean
        """The best images, (N, 3, H, W); the clean ones before any update."""
        self.objective: Scores = one_each(clean, -np.inf)
        """Their objective, (N,); minus infinity before any update."""

    def update(self, images: Images, objective: Scores, where: Marks | bool = True) -> Marks:
        """Keep the better images among those of `where`, and return which are better, (N,)."""
        chosen = functions(self.objective).where
        better: Marks = (objective > self.objective) & where
        self.images = chosen(column(better), images, self.images)
        self.objective = chosen(better, objective, self.objective)
        return better

    @property
    def found(self) -> SearchResult:
        """The best images and their objective."""
        return SearchResult(images=self.images, objective=self.objective)


class BestSeen(Best):
    """The best of the images that a score-based search queries, and of the clean ones if their objective is known.

    Queried images must be inside the budget.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session.clean)
        self._session = session
        if session.clean_objective is not None:
            self.update(session.clean, session.clean_objective)

    def ask(self, images: Images) -> Scores:
        """Query the objective of each image, (N,); one query."""
        objective = self._session.objective(images)
        self.update(images, objective)
        return objective
