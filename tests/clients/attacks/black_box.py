"""What every attack by scores must do, whatever its search: checks that the tests of each of them call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import LinearOracle, ScoreOnly, TorchOracle

from scoreguard_client.attacks.base import AttackResult, Direction
from scoreguard_client.attacks.score_attack import ScoreAttack
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores


@dataclass(kw_only=True)
class CostlyOracle(LinearOracle):
    """Each question costs three calls, and the second image's first call is sent again every time."""

    @property
    def facts(self) -> OracleFacts:
        """Three draws."""
        return replace(super().facts, calls_per_question=3)

    @property
    def last_calls(self) -> npt.NDArray[np.int64]:
        """What the last question cost."""
        return np.array([3, 4, 3])


def waves(shape: tuple[int, ...], seed: int = 5) -> LinearOracle:
    """A linear score with weights that are smooth over the image, as a metric's are."""
    rows, columns = np.indices(shape[1:])
    phases = np.random.default_rng(seed).uniform(0, 6, (3, 1, 1))
    return LinearOracle(weights=np.sin(rows / 6 + columns / 9 + phases).astype(np.float32))


def grey(*shape: int) -> Images:
    """Images in the middle of the range."""
    return np.full(shape, 0.5, dtype=np.float32)


def cosine(first: Gradients, second: Gradients) -> float:
    """Of the angle between two gradients."""
    a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def require_exact_queries(attack: ScoreAttack, images: Images) -> AttackResult:
    """One call per query for the whole batch, all inside the budget; the answer is the best of the trace."""
    oracle = waves(images.shape[1:])
    result = attack(images, ScoreOnly(inner=oracle))
    assert oracle.calls == attack.queries
    assert result.queries.tolist() == [attack.queries] * len(images)
    np.testing.assert_array_equal(result.scores, result.trace.max(axis=0))
    np.testing.assert_allclose(result.scores, oracle.score(result.attacked), rtol=1e-12)
    require_budget(attack, images, result)
    return result


def require_calls_to_end_the_search(attack: ScoreAttack, images: Images) -> None:
    """Draws and calls sent again use the budget up, at any place of a step, and nothing is asked beyond it."""
    oracle = CostlyOracle(weights=waves(images.shape[1:]).weights)
    result = attack(images, oracle)
    # A question is asked while the three calls that it costs at least are left to the image that has spent most.
    assert oracle.calls == 1 + (attack.queries - 3) // 4
    assert result.queries[1] == 4 * oracle.calls
    np.testing.assert_array_equal(result.scores, result.trace.max(axis=0))


def require_the_same_alone_and_in_a_batch(attack: ScoreAttack, images: Images) -> None:
    """An image's attack depends on its seed alone; another seed gives another image."""
    oracle = ScoreOnly(inner=waves(images.shape[1:]))
    batch = attack(images, oracle, seeds=[7, 8, 9])
    again = attack(images, oracle, seeds=[7, 8, 9])
    alone = attack(images[1:2], oracle, seeds=[8])
    other = attack(images[1:2], oracle, seeds=[80])
    np.testing.assert_array_equal(batch.attacked, again.attacked)
    np.testing.assert_array_equal(batch.attacked[1:2], alone.attacked)
    assert not np.array_equal(alone.attacked, other.attacked)


def require_both_directions(attack: ScoreAttack, images: Images) -> None:
    """Upwards raises quality and downwards lowers it, whichever way the metric runs."""
    for higher_is_better in (True, False):
        oracle = LinearOracle(weights=waves(images.shape[1:]).weights, higher_is_better=higher_is_better)
        sign = 1 if higher_is_better else -1
        clean = sign * oracle.score(images)
        assert np.all(sign * attack(images, oracle).scores > clean)
        assert np.all(sign * replace(attack, direction=Direction.DOWN)(images, oracle).scores < clean)


def gains_on_lite(attack: ScoreAttack) -> Scores:
    """By how much the shipped metric's score (0..100) of three crops of photographs rises, (3,)."""
    data = pytest.importorskip("skimage.data")
    catalogue = pytest.importorskip("scoreguard_export.metrics.catalogue")
    photographs = (data.astronaut(), data.coffee(), data.chelsea())
    crops = np.stack([photograph[100:148, 200:248].transpose(2, 0, 1) for photograph in photographs])
    clean = (crops / 255).astype(np.float32)
    metric: torch.nn.Module = catalogue.load_metric("lite").requires_grad_(False)
    oracle = TorchOracle(function=metric)
    return attack(clean, oracle).scores - oracle.score(clean)
