"""The clean image as a candidate, so that a search never ends below its start.

A published method returns the last or the best image of its walk; both may be worse than the clean image. Here the
better of that and the clean image is returned, separately for each image. This is our addition, not the papers': it
costs the clean image's score, unless a step of the method queries it anyway.

Behind a random defence one answer says little, and the highest of many noisy ones is too high. Both candidates are
therefore queried several more times, in turn, and their means are compared; the returned score is also a mean. A mean
of finitely many draws still errs: the returned image may then truly be worse, by less than that error.
"""

from __future__ import annotations

from typing import Final

from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import column, functions
from scoreguard_client.oracles.base import Images, OracleFacts, Scores

JUDGING_CALLS: Final = 8
"""Minimum draws of each candidate behind a random defence."""
_SHARE: Final = 10
"""A score-based search spends at most one in this many calls of its budget on the comparison."""


def judging_rounds(facts: OracleFacts, call_limit: int | None) -> int:
    """Return how often each candidate is queried again; 0 if the first answers are as good as any.

    Args:
        facts: of the oracle.
        call_limit: calls that may be spent on each image; None = any number.
    """
    if not facts.random:
        return 0
    rounds = -(-JUDGING_CALLS // facts.calls_per_question)
    if call_limit is None:
        return rounds
    return min(rounds, call_limit // facts.calls_per_question // _SHARE // 2)


def better_of(session: Session, attacked: Images, objective: Scores | None, *, rounds: int) -> tuple[Images, Scores]:
    """Return the search result or, if it is worse, the clean image, with its objective (N,).

    Args:
        session: of the finished search.
        attacked: the search result, (N, 3, H, W), inside the budget.
        objective: its objective (N,); None = query it.
        rounds: how often each candidate is queried again, see `judging_rounds`.
    """
    session.release()
    rounds = min(rounds, session.left // 2)  # Calls that were sent again may have used some up.
    if rounds:
        answers = [(session.objective(attacked), session.objective(session.clean)) for _ in range(rounds)]
        library = functions(attacked)
        found, clean = (library.mean(library.stack(one), axis=0) for one in zip(*answers, strict=True))
    else:
        found = session.objective(attacked) if objective is None else objective
        clean = session.objective(session.clean) if session.clean_objective is None else session.clean_objective
    worse = found < clean
    chosen = functions(attacked).where
    return chosen(column(worse), session.clean, attacked), chosen(worse, clean, found)
