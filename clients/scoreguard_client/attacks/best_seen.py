"""The best pictures that a search by scores has asked about: what it hands out, with their objective."""

from __future__ import annotations

import numpy as np

from scoreguard_client.attacks.base import Found
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images, Scores


class BestSeen:
    """Asks for a search, and keeps the best answer of each picture; pictures must be inside the budget."""

    def __init__(self, session: Session) -> None:
        self.images: Images = session.clean.copy()
        """The best pictures so far, (N, 3, H, W)."""
        self.objective: Scores = np.full(len(self.images), -np.inf)
        """Their objective, (N,); minus infinity before the first question."""
        self._session = session

    def ask(self, images: Images) -> Scores:
        """The objective of each picture, (N,); one question."""
        objective = self._session.objective(images)
        better = objective > self.objective
        self.images[better], self.objective[better] = images[better], objective[better]
        return objective

    @property
    def found(self) -> Found:
        """The best pictures and their objective."""
        return Found(images=self.images, objective=self.objective)
