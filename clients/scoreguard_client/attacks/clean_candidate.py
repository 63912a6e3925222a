"""The clean image as a candidate: what makes a search end no lower than where it was given to start.

A published method hands out where its walk ends, or the best of where it has been; both may be worse than the clean
image. Here the better of that and the clean image is handed out, for each image by itself. That is ours, not the
papers': it costs the clean image's score, where no step of the method was about it anyway.

Behind a random defence one answer says little, and the highest of many noisy ones is too high. Both candidates are
therefore asked about several times more, in turn, and their means are compared; the score handed out is a mean too. A
mean of finitely many draws still errs: what is handed out may then truly be worse, by less than that error.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images, OracleFacts, Scores

JUDGING_CALLS: Final = 8
"""Draws of each candidate behind a random defence, at least."""
_SHARE: Final = 10
"""A search by scores gives at most this part of its budget, one in so many, to the comparison."""


def judging_rounds(facts: OracleFacts, call_limit: int | None) -> int:
    """How often each candidate is asked about again; 0 where the first answers are as good as any.

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
    """What was found or, where it is worse, the clean image; with its objective (N,).

    Args:
        session: of the search, which is over.
        attacked: what was found, (N, 3, H, W), inside the budget.
        objective: its objective (N,); None = ask.
        rounds: how often each candidate is asked about again, see `judging_rounds`.
    """
    session.release()
    rounds = min(rounds, session.left // 2)  # Calls that were sent again may have used some of them up.
    if rounds:
        answers = [(session.objective(attacked), session.objective(session.clean)) for _ in range(rounds)]
        found, clean = np.mean(answers, axis=0)
    else:
        found = session.objective(attacked) if objective is None else objective
        clean = session.objective(session.clean) if session.clean_objective is None else session.clean_objective
    worse = found < clean
    images = np.where(worse.reshape(-1, 1, 1, 1), session.clean, attacked)
    return images, np.where(worse, clean, found)
