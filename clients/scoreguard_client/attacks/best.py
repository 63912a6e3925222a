"""The best images that a search has seen, for each image of a batch by itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.base import SearchResult
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images, Scores

Marks = npt.NDArray[np.bool_]
"""Whether something holds for each image, (N,)."""


class Best:
    """What a search is told to keep."""

    def __init__(self, clean: Images) -> None:
        self.images = clean.copy()
        """The best images, (N, 3, H, W); the clean ones before anything was seen."""
        self.objective: Scores = np.full(len(clean), -np.inf)
        """Their objective, (N,); minus infinity before anything was seen."""

    def update(self, images: Images, objective: Scores, where: Marks | bool = True) -> Marks:
        """Keep what is better, among the images of `where`; says which are, (N,)."""
        better = np.asarray(objective > self.objective) & where
        self.images[better], self.objective[better] = images[better], objective[better]
        return better

    @property
    def found(self) -> SearchResult:
        """The best images and their objective."""
        return SearchResult(images=self.images, objective=self.objective)


class BestSeen(Best):
    """What a search by scores asks about, and the clean images where their objective is known already.

    Images that are asked about must be inside the budget.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session.clean)
        self._session = session
        if session.clean_objective is not None:
            self.update(session.clean, session.clean_objective)

    def ask(self, images: Images) -> Scores:
        """The objective of each image, (N,); one question."""
        objective = self._session.objective(images)
        self.update(images, objective)
        return objective
