"""Attacks that need scores only, as the public endpoint serves them."""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.base import Attack, Needs


@dataclass(frozen=True, kw_only=True)
class ScoreAttack(Attack):
    """A search with a fixed number of calls; each draw of a random defence and each resent call counts as one.

    The first call scores the clean image, so no search ends below it; a budget of one call ends there. `run` queries
    only while `session.left` is above 0, and returns images whose objective it knows.
    """

    needs = Needs.SCORES

    queries: int = 10_000
    """Calls per image; 10 000 in the benchmark (arXiv 2408.01541)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.queries >= 1, f"queries must be at least 1, not {self.queries}")

    @property
    def queries_needed(self) -> int:
        """The whole budget."""
        return self.queries

    @property
    def call_limit(self) -> int:
        """The budget."""
        return self.queries
