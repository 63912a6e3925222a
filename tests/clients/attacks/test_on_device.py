"""Attacks on a second device: the host's results, without a copy to the host for each step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from copies_home import CopiesHome
from second_device import SECOND_DEVICE, second_device
from tests.clients.oracles.toy_archive import Defence, write_archive

from scoreguard.chain.jpeg import Codec
from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import DIFFERENTIABILITY_EXACT, DefenceFacts, ParameterSpec
from scoreguard.v1.spec import parse_chain
from scoreguard_client.attacks import AttackResult, Needs, parse_attack
from scoreguard_client.attacks.catalogue import CATALOGUE
from scoreguard_client.attacks.errors import OracleAnswerError
from scoreguard_client.attacks.mifgsm import MIFGSM
from scoreguard_client.attacks.regions.base import MovableRegion, Region
from scoreguard_client.attacks.regions.mse import MseRegion
from scoreguard_client.attacks.regions.sparse import SparseRegion
from scoreguard_client.attacks.thresholds.transform import Transform
from scoreguard_client.oracles import LocalOracle
from scoreguard_client.oracles.arrays import on_host, unchanged
from scoreguard_client.oracles.base import Gradients, Images
from scoreguard_client.testing.oracles import ConstantOracle
from scoreguard_client.testing.trials import images_of
from scoreguard_export.defences.jpeg import Jpeg
from scoreguard_export.defences.quantise import Quantise

ON_DEVICE = (
    "fgsm",
    "ifgsm",
    "ifgsm:mode=benchmark",
    "mifgsm",
    "mifgsm:mode=benchmark",
    "amifgsm",
    "pgd:restarts=2",
    "apgd",
    "mpgd:restarts=2",
    "zhang-ssim",
    "zhang-ssim:mode=benchmark",
    "ssah",
    "ssah:mode=benchmark",
    "advcf",
    "advcf:mode=benchmark",
    "nes:pairs=3",
    "nes:mode=benchmark:pairs=3",
    "spsa:pairs=3",
    "madc",
    "madc:mode=benchmark",
    "ioi",
    "korhonen:least=40",
    "korhonen:least=3:patience=1",
    "korhonen:mode=benchmark",
    "patch-rs:side=5",
    "patch-rs:mode=benchmark:side=4",
    "onepixel:population=100",
    "onepixel:population=8",
    "onepixel:mode=benchmark:population=8",
)
WAITING = {
    "korhonen:least=3:patience=1": "whether an image still climbs",
    "onepixel:population=8": "fitness",
    "onepixel:mode=benchmark:population=8": "fitness",
}
"""Those of them whose next step needs an answer on the host, and which."""


DEEP = ("zhang-lpips", "zhang-dists")
"""Those that also need the weights of a network."""
BEHIND_ROUNDING = ("dct-threshold",)
"""Those that need a chain which rounds."""


class Wave(torch.nn.Module):
    """A curved score, whose derivative has both signs and is not near 0 at many values."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score."""
        return 50 + 40 * torch.sin(7 * image).mean(dim=[1, 2, 3])


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The wave behind the toy defences."""
    second_device()
    return write_archive(tmp_path_factory.mktemp("store") / "wave", Wave())


def attacked(text: str, oracle: LocalOracle, images: Images) -> AttackResult:
    """An attack's result; NIQE, if it needs it, is 4."""
    attack = parse_attack(text)
    companions = {name: ConstantOracle(4.0) for name in attack.companions}
    return attack(images, oracle, seeds=range(len(images)), companions=companions)


def with_steps(text: str, count: int) -> str:
    """The attack's text with a number of steps, if it has steps."""
    kind = parse_attack(text).needs
    if kind is Needs.SCORES:
        return f"{text}:queries={4 * count}"
    return text if text in ("fgsm", "ioi") else f"{text}:iterations={count}"


def test_the_list_is_that_of_all_attacks_that_say_so() -> None:
    """No attack claims to work on a device without being tried there."""
    assert {text.partition(":")[0] for text in (*ON_DEVICE, *DEEP, *BEHIND_ROUNDING)} == {
        name for name in CATALOGUE if CATALOGUE[name].takes_device_arrays()
    }


@pytest.mark.parametrize("chain", ["none", "noise"])
@pytest.mark.parametrize("text", ON_DEVICE)
def test_an_attack_ends_on_the_device_where_it_ends_on_the_host(
    text: str, chain: str, waves: Archive, images: Images
) -> None:
    """Scores, queries and trace agree; single pixels may differ where a gradient is near 0."""
    text, steps = with_steps(text, 6), parse_chain(chain)
    here = attacked(text, LocalOracle(waves, steps, seed=4), images)
    there = attacked(text, LocalOracle(waves, steps, seed=4, device=SECOND_DEVICE), images)
    np.testing.assert_allclose(there.scores, here.scores, atol=0.05)
    np.testing.assert_allclose(there.trace, here.trace, atol=0.05)
    assert (np.abs(there.attacked - here.attacked) > 1e-4).mean() < 0.02
    assert there.queries.tolist() == here.queries.tolist()
    assert there.flags == here.flags
    assert there.attacked.dtype == here.attacked.dtype == np.float32


@pytest.mark.parametrize("text", [text for text in ON_DEVICE if text not in WAITING])
def test_no_step_of_an_attack_waits_for_the_device(text: str, waves: Archive, images: Images) -> None:
    """Twenty steps copy as much to the host as five, and there are no more than a handful of copies."""
    few, many = (copies_home(with_steps(text, steps), waves, images) for steps in (5, 20))
    assert few == many
    assert 0 < few <= 8


def test_the_count_sees_an_attack_that_works_on_the_host(waves: Archive, images: Images) -> None:
    """Each of its queries copies a score."""
    few, many = (copies_home(with_steps("simba", steps), waves, images) for steps in (5, 20))
    assert many - few == 4 * 15


def test_a_generation_of_candidates_is_copied_at_once(waves: Archive, images: Images) -> None:
    """Eighty queries are ten generations of eight, and twenty are three."""
    few, many = (copies_home(with_steps("onepixel:population=8", steps), waves, images) for steps in (5, 20))
    assert many - few == 10 - 3


@pytest.mark.parametrize(("least", "copies"), [(16, 5), (8, 13)])
def test_a_search_that_may_end_early_asks_only_from_its_least_step_on(
    least: int, copies: int, waves: Archive, images: Images
) -> None:
    """Then one truth value comes back for each step, and no step is left out that an image still needs."""
    text = "korhonen:iterations=20:patience=20:least="
    assert copies_home(f"{text}{least}", waves, images) - copies_home(f"{text}40", waves, images) == copies


def test_a_search_ends_on_the_device_at_the_step_where_it_ends_on_the_host(waves: Archive, images: Images) -> None:
    """Steps that overshoot end it long before the last one, and no gradient is spent after that."""
    here, there = (
        attacked("korhonen:lr=0.5:least=3", LocalOracle(waves, device=device), images)
        for device in ("cpu", SECOND_DEVICE)
    )
    assert there.queries.tolist() == here.queries.tolist()
    assert here.queries.max() < 30


def copies_home(text: str, archive: Archive, images: Images, chain: str = "none") -> int:
    """Count what an attack copies to the host."""
    with CopiesHome() as copies:
        attacked(text, LocalOracle(archive, parse_chain(chain), device=SECOND_DEVICE), images)
    counted: int = copies.count
    return counted


def test_the_budget_holds_exactly_on_a_device(waves: Archive, images: Images) -> None:
    """The bounds are computed on the host and uploaded."""
    result = attacked("ifgsm:eps=4/255:iterations=9", LocalOracle(waves, device=SECOND_DEVICE), images)
    assert np.abs(result.attacked.astype(np.float64) - images).max() <= 4 / 255


class Broken(torch.nn.Module):
    """A score whose derivative is not finite at 0."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score."""
        return torch.sqrt(image).mean(dim=[1, 2, 3])


def test_a_mean_squared_error_holds_exactly_on_a_device(waves: Archive, images: Images) -> None:
    """The host computes it in its own order."""
    result = attacked("madc:rmse=10/255:iterations=3", LocalOracle(waves, device=SECOND_DEVICE), images)
    errors = np.sqrt(((result.attacked.astype(np.float64) - images) ** 2).mean(axis=(1, 2, 3)))
    assert (errors <= 10 / 255).all()
    assert (errors > 0.99 * 10 / 255).all()


@pytest.mark.parametrize("region", [MseRegion, SparseRegion])
def test_a_region_cuts_on_a_device_what_it_cuts_on_the_host(region: Callable[..., Region], images: Images) -> None:
    """Far outside: to a mean squared error, or to the most changed pixels."""
    second_device()
    bounds = {"rmse": 0.05} if region is MseRegion else {"pixels": 9}
    here = region(clean=images, **bounds)
    wild = images + np.random.default_rng(0).normal(0, 0.4, images.shape).astype(np.float32)
    assert isinstance(here, MovableRegion)
    there = here.on(to_second).clip(to_second(wild))
    np.testing.assert_allclose(on_host(there), here.clip(wild), atol=1e-6)


def to_second(values: npt.NDArray[Any]) -> Any:
    """Copy an array to the second device."""
    return torch.from_numpy(values).to(SECOND_DEVICE)


def test_a_gradient_that_is_not_finite_is_found_at_the_end(tmp_path: Path, images: Images) -> None:
    """The error is the host's, and names the same image."""
    images = images * np.float32(0.5) + np.float32(0.25)
    images[1, 0, 0, 0] = 0
    archive = write_archive(tmp_path / "broken", Broken())
    found = list(messages(archive, images, ["cpu", str(second_device())]))
    assert found[0] == found[1]
    assert "gradient is not finite for image 1" in found[0]


def messages(archive: Archive, images: Images, devices: list[str]) -> Iterator[str]:
    """What an attack says on each device."""
    for device in devices:
        with pytest.raises(OracleAnswerError) as caught:
            attacked("ifgsm", LocalOracle(archive, device=device), images)
        yield str(caught.value)


def _rounding() -> list[Defence]:
    """The defences that round, as they are exported."""
    quality = ParameterSpec(name="quality", default_value=50, minimum=1, maximum=100)
    subsampling = ParameterSpec(
        name="subsampling",
        default_value=420,
        minimum=420,
        maximum=444,
        structural_choices=[420, 444],
        choice_names=["4:2:0", "4:4:4"],
    )
    levels = ParameterSpec(name="levels", default_value=16, minimum=2, maximum=256)
    exact = DIFFERENTIABILITY_EXACT
    return [
        (
            DefenceFacts(name="jpeg", parameters=[quality, subsampling], differentiability=exact),
            {(("subsampling", kind),): Jpeg(subsampling=kind) for kind in (420.0, 444.0)},
        ),
        (DefenceFacts(name="quantise", parameters=[levels], differentiability=exact), {(): Quantise()}),
    ]


@pytest.fixture(scope="module")
def rounded_waves(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The wave behind defences that round."""
    second_device()
    return write_archive(tmp_path_factory.mktemp("rounding") / "wave", Wave(), more=_rounding())


ROUNDING = ("jpeg:quality=50:subsampling=4:2:0", "jpeg:quality=80:subsampling=4:4:4", "quantise:levels=16")


@pytest.mark.slow
@pytest.mark.parametrize("chain", ROUNDING)
def test_dct_threshold_ends_on_the_device_where_it_ends_on_the_host(
    chain: str, rounded_waves: Archive, images: Images
) -> None:
    """On the 8-bit grid; a block may differ where two pushes gain the same but for a rounding."""
    steps, text = parse_chain(chain), "dct-threshold:eps=4/255:iterations=6"
    here = attacked(text, LocalOracle(rounded_waves, steps), images)
    there = attacked(text, LocalOracle(rounded_waves, steps, device=SECOND_DEVICE), images)
    np.testing.assert_allclose(there.scores, here.scores, atol=0.05)
    np.testing.assert_allclose(there.trace, here.trace, atol=0.05)
    assert (there.attacked != here.attacked).mean() < 0.02
    assert (here.scores - here.trace[0]).min() > 1
    np.testing.assert_allclose(there.attacked, there.attacked_8bit / 255, atol=1e-7)
    assert there.queries.tolist() == here.queries.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("chain", ROUNDING)
def test_no_push_over_a_threshold_waits_for_the_device(chain: str, rounded_waves: Archive, images: Images) -> None:
    """Eight steps copy as much to the host as three."""
    few, many = (
        copies_home(f"dct-threshold:iterations={steps}", rounded_waves, images, chain=chain) for steps in (3, 8)
    )
    assert few == many
    assert 0 < few <= 8


@pytest.mark.parametrize("subsampling", [420, 444])
def test_an_encoders_numbers_are_those_of_the_host(subsampling: int, images: Images) -> None:
    """Sizes without a whole cell; colours and halved chrominance are rounded alike."""
    levels, codec = np.rint(images * 255).astype(np.float32), Codec(70, subsampling)
    here, there = (Transform(codec, 17, 23, put) for put in (unchanged, to_second))
    for wanted, found in zip(here.coefficients(levels), there.coefficients(to_second(levels)), strict=True):
        np.testing.assert_allclose(on_host(found), wanted, atol=1e-4)
    for wanted, found in zip(here.components(images), there.components(to_second(images)), strict=True):
        np.testing.assert_allclose(on_host(found), wanted, atol=1e-6)


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_measure_is_on_the_device_too(name: str, waves: Archive, folder: Path) -> None:
    """It ends where it ends on the host, and no step copies to the host."""
    images, text = images_of(2, 32, 32), f"{name}:weights={folder}:mode=benchmark"
    here = attacked(f"{text}:iterations=2", LocalOracle(waves), images)
    there = attacked(f"{text}:iterations=2", LocalOracle(waves, device=SECOND_DEVICE), images)
    np.testing.assert_allclose(there.scores, here.scores, atol=0.05)
    few, many = (copies_home(f"{text}:iterations={steps}", waves, images) for steps in (1, 3))
    assert few == many


@dataclass(frozen=True, kw_only=True)
class Averaged(MIFGSM):
    """A plug-in's attack, written for NumPy on top of one that works on a device."""

    name = "averaged"

    def accumulate(self, direction: Gradients, gradient: Gradients) -> Gradients:
        """The mean of both, which a tensor on a device cannot be multiplied to."""
        assert isinstance(gradient, np.ndarray)
        return np.float32(0.5) * (direction + gradient)


def test_a_plug_ins_attack_gets_numpy_arrays_unless_it_says_otherwise(waves: Archive, images: Images) -> None:
    """What its base class can do does not count."""
    here, there = (Averaged()(images, LocalOracle(waves, device=device)) for device in ("cpu", SECOND_DEVICE))
    np.testing.assert_allclose(there.scores, here.scores, atol=0.05)


def test_an_attack_that_stays_on_the_host_is_served_as_before(waves: Archive, images: Images) -> None:
    """Its questions and answers are NumPy arrays, wherever the oracle computes."""
    here, there = (
        attacked("simba:queries=9", LocalOracle(waves, device=device), images) for device in ("cpu", SECOND_DEVICE)
    )
    np.testing.assert_allclose(there.scores, here.scores, atol=0.05)


def test_the_documentation_lists_the_attacks_that_stay_on_a_device() -> None:
    """docs/attacks.md cannot fall behind the code."""
    text = (Path(__file__).resolve().parents[3] / "docs/attacks.md").read_text()
    sentence = text.partition("On a device these attacks keep")[2].partition("and with them")[0]
    listed = {text.partition(":")[0] for text in (*ON_DEVICE, *DEEP, *BEHIND_ROUNDING)}
    assert set(re.findall(r"`([\w-]+)`", sentence)) == listed
