"""Universal attacks: what they add, their exact budget, and the files that they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import LinearOracle, ScoreOnly
from tests.clients.universal.conftest import recipe

from scoreguard_client.attacks.base import Direction, Needs
from scoreguard_client.attacks.catalogue import parameter_types
from scoreguard_client.attacks.cumulative_uap import CumulativeUAP
from scoreguard_client.attacks.errors import AttackSpecError
from scoreguard_client.attacks.generative_uap import GenerativeUAP
from scoreguard_client.attacks.optimized_uap import OptimizedUAP
from scoreguard_client.attacks.universal import UniversalAttack
from scoreguard_client.oracles.base import Images
from scoreguard_client.perturbations.artifact import save_perturbation
from scoreguard_client.perturbations.errors import PerturbationError

KINDS: list[type[UniversalAttack]] = [CumulativeUAP, OptimizedUAP, GenerativeUAP]
Values = npt.NDArray[np.float32]


def perturbation(bound: float = 0.1) -> Values:
    """5 x 7 values within a bound, which they reach."""
    values = np.random.default_rng(0).uniform(-bound, bound, (3, 5, 7)).astype(np.float32)
    values[0, 0, 0], values[1, 4, 6] = bound, -bound
    return values


def written(folder: Path, kind: type[UniversalAttack] = OptimizedUAP, direction: str = "up", bound: float = 0.1) -> str:
    """The path of a perturbation of a kind."""
    path = folder / f"{kind.kind}-{direction}-{bound}.safetensors"
    save_perturbation(path, perturbation(bound), recipe(kind=kind.kind.value, direction=direction))
    return str(path)


def linear(images: Images) -> LinearOracle:
    """A score of these images."""
    return LinearOracle(weights=np.ones(images.shape[1:], dtype=np.float32))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("amplitude", [0.2, 0.4, 0.8, 1.0])
def test_the_perturbation_is_tiled_scaled_and_cut(
    kind: type[UniversalAttack], amplitude: float, images: Images, tmp_path: Path
) -> None:
    """clip(x + amplitude * tile(u)) on images of 17 x 23, whose values touch both ends of the range."""
    result = kind(file=written(tmp_path, kind), amplitude=amplitude)(images, linear(images))
    tiles = np.tile(perturbation().astype(np.float64), (1, 4, 4))[:, :17, :23]
    np.testing.assert_allclose(result.attacked, np.clip(images + amplitude * tiles, 0, 1), atol=1e-7)
    assert {0.0, 1.0} <= {result.attacked.min(), result.attacked.max()}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 12), st.integers(1, 16)),
    amplitude=st.floats(1e-3, 3),
    bound=st.sampled_from([10 / 255, 0.1, 0.3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_budget_is_the_amplitude_times_the_largest_value(
    shape: tuple[int, ...], amplitude: float, bound: float, seed: int, tmp_path: Path
) -> None:
    """Exactly, in float and on the 8-bit grid, at any size."""
    clean = (np.random.default_rng(seed).integers(0, 256, shape) / 255).astype(np.float32)
    attack = OptimizedUAP(file=written(tmp_path, bound=bound), amplitude=amplitude)
    assert attack.eps == amplitude * float(np.float32(bound))
    result = attack(clean, linear(clean))
    require_budget(attack, clean, result)


@pytest.mark.parametrize("kind", KINDS)
def test_one_score_is_all_that_is_asked(kind: type[UniversalAttack], images: Images, tmp_path: Path) -> None:
    """That of the finished image; no gradient is needed, and an image does not depend on its batch."""
    attack, oracle = kind(file=written(tmp_path, kind)), linear(images)
    result = attack(images, ScoreOnly(inner=oracle))
    assert (attack.needs, attack.queries_needed, oracle.calls) == (Needs.TRAINING, 0, 1)
    assert result.queries.tolist() == [1] * len(images)
    np.testing.assert_array_equal(result.scores, oracle.score(result.attacked))
    alone = attack(images[1:2], oracle)
    np.testing.assert_array_equal(alone.attacked[0], result.attacked[1])


def read_back(attack: UniversalAttack) -> UniversalAttack:
    """The attack from its text form, by the catalogue's rules."""
    name, *pairs = str(attack).split(":")
    kind = type(attack)
    assert name == kind.name
    types = parameter_types(kind)
    return kind(**{key: types[key](value) for key, _, value in (pair.partition("=") for pair in pairs)})


@pytest.mark.parametrize("kind", KINDS)
def test_a_pinned_attack_carries_the_digest_of_its_file(kind: type[UniversalAttack], tmp_path: Path) -> None:
    """Its text form reads back, with and without it, and another file in its place is refused."""
    attack = kind(file=written(tmp_path, kind), amplitude=0.8)
    pinned = attack.pinned()
    assert attack.digest == ""
    assert len(pinned.digest) == 64
    assert f"digest={pinned.digest}" in str(pinned)
    assert read_back(attack) == attack
    assert read_back(pinned) == pinned == pinned.pinned()
    save_perturbation(Path(attack.file), perturbation(), recipe(kind=kind.kind.value, seed=9))
    with pytest.raises(PerturbationError, match="is not the perturbation that was asked for"):
        replace(pinned).pinned()
    assert attack.amplitude == 0.8


def test_a_perturbation_of_another_training_is_refused(images: Images, tmp_path: Path) -> None:
    """Kind and direction must be those of the attack; the message says what to do."""
    file = written(tmp_path, CumulativeUAP)
    with pytest.raises(
        PerturbationError, match="trained as cumulative, and optimized-uap is optimized: use cumulative"
    ):
        OptimizedUAP(file=file)(images, linear(images))
    with pytest.raises(
        PerturbationError, match="trained as up, and cumulative-uap is down: train one with --direction"
    ):
        CumulativeUAP(file=file, direction=Direction.DOWN).pinned()
    down = CumulativeUAP(file=written(tmp_path, CumulativeUAP, "down"), direction=Direction.DOWN)
    assert down(images, linear(images)).attacked.shape == images.shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_names_the_command_that_makes_one(kind: type[UniversalAttack], images: Images) -> None:
    """Both where no file was given and where it is not there."""
    with pytest.raises(AttackSpecError, match=f"{kind.name}:file=FILE; scoreguard uap train --kind {kind.kind}"):
        kind()
    with pytest.raises(PerturbationError, match=r"gone\.safetensors.*scoreguard uap train --out gone\.safetensors"):
        kind(file="gone.safetensors")(images, linear(images))


@pytest.mark.parametrize(
    ("amplitude", "file", "digest", "said"),
    [
        (0.0, "u", "", "amplitude"),
        (-0.6, "u", "", "amplitude"),
        (float("nan"), "u", "", "amplitude"),
        (0.4, "u", "abc", "64 hexadecimal"),
        (0.4, "u", "0" * 64 + "\n", "64 hexadecimal"),
    ],
)
def test_parameters_out_of_range_are_refused(amplitude: float, file: str, digest: str, said: str) -> None:
    """Before any file is read."""
    with pytest.raises(AttackSpecError, match=said):
        OptimizedUAP(file=file, amplitude=amplitude, digest=digest)


@pytest.mark.parametrize("name", ["uap_maniqa_COCO.npy", "optimized_uap_nima.png"])
def test_the_benchmarks_published_perturbations_can_be_applied(name: str, shared_data: Path) -> None:
    """At another size than their own; any kind takes them, because the file does not say."""
    clean = (np.random.default_rng(0).integers(0, 256, (1, 3, 300, 260)) / 255).astype(np.float32)
    for kind in KINDS:
        attack = kind(file=str(shared_data / "benchmark/uap" / name)).pinned()
        require_budget(attack, clean, attack(clean, linear(clean)))
