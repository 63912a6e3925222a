"""The threshold attack: what it pushes changes what a JPEG decoder gives, inside the budget, and it gains by it."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, pillow_jpeg
from PIL import Image
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import TorchOracle

from scoreguard.chain.jpeg import TRANSFORM, Codec, Floats
from scoreguard.v1.spec import parse_chain
from scoreguard_client.attacks import AttackSpecError, ChainMismatchError, parse_attack
from scoreguard_client.attacks.apgd import APGD
from scoreguard_client.attacks.dct_threshold import DCTThreshold
from scoreguard_client.attacks.thresholds.base import Room
from scoreguard_client.attacks.thresholds.jpeg import JpegThresholds
from scoreguard_client.attacks.thresholds.pushes import Blocks
from scoreguard_client.attacks.thresholds.quantise import QuantiseThresholds
from scoreguard_client.oracles.base import Images
from scoreguard_export.defences.jpeg import Jpeg
from scoreguard_export.defences.quantise import Quantise
from scoreguard_export.metrics.catalogue import load_metric

EPS = 2 / 255
JPEG = parse_chain("jpeg:quality=50:subsampling=4:2:0")
QUANTISE = parse_chain("quantise:levels=8")


def as_batch(*images: npt.NDArray[np.uint8]) -> Images:
    """Images (H, W, 3) as (N, 3, H, W) in [0, 1]."""
    return (np.stack(images).transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)


def copies(quality: int) -> tuple[Images, Images]:
    """Two crops of photographs, 96 x 96, and their JPEG copies by Pillow."""
    originals = [crop(photo, 60, 60, 96, 96) for photo in (0, 1)]
    compressed = []
    for image in originals:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=quality)
        compressed.append(np.asarray(Image.open(io.BytesIO(stream.getvalue()))))
    return as_batch(*originals), as_batch(*compressed)


def behind_jpeg() -> TorchOracle:
    """The shipped metric behind JPEG 50, rounding straight through."""
    metric, codec = load_metric("lite"), Jpeg()

    def score(images: torch.Tensor) -> torch.Tensor:
        return metric(codec(images, torch.tensor(50.0)))  # type: ignore[no-any-return]

    return TorchOracle(function=score, chain=JPEG)


def test_on_compressed_copies_it_passes_the_originals_where_apgd_stays_far_below() -> None:
    """JPEG-10 copies behind JPEG 50: 10 pushes beat 20 steps of APGD by half of what APGD gains, and more."""
    originals, compressed = copies(10)
    oracle = behind_jpeg()
    clean = oracle.score(compressed)
    pushed = DCTThreshold(eps=EPS, iterations=10)(compressed, oracle)
    climbed = APGD(eps=EPS, iterations=20)(compressed, oracle)
    assert np.all(pushed.scores - clean > 1.5 * (climbed.scores - clean))
    assert np.all(pushed.scores > oracle.score(originals))
    np.testing.assert_array_equal(pushed.attacked_8bit, np.rint(pushed.attacked * 255))


@pytest.mark.parametrize("subsampling", [420, 444])
def test_pillows_decoder_shows_what_was_pushed(subsampling: int) -> None:
    """Most blocks decode to something else, and along the gradient; sign steps of the same size change far less."""
    image = np.rint(copies(10)[1][0] * 255).astype(np.uint8)
    # A gradient with a direction of its own in every block, over all coefficients and colours.
    gradient = np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
    changes = JpegThresholds(Codec(50, subsampling), room_around(image, 2)).pushed(gradient[None])[0]
    assert np.abs(changes).max() <= 2

    def decoded(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return pillow_jpeg(np.ascontiguousarray(levels.transpose(1, 2, 0)), 50, subsampling).transpose(2, 0, 1)

    def changed_blocks(difference: npt.NDArray[np.int64]) -> float:
        rows, columns = image.shape[1] // 8, image.shape[2] // 8
        return float(difference.reshape(3, rows, 8, columns, 8).any(axis=(0, 2, 4)).mean())

    before = decoded(image)
    difference = decoded((image + changes).astype(np.uint8)) - before
    signs = decoded(np.clip(image + 2 * np.sign(gradient), 0, 255).astype(np.uint8)) - before
    assert changed_blocks(difference) > 0.5
    assert np.sum(difference * gradient) > 3 * abs(np.sum(signs * gradient))


@pytest.mark.parametrize("subsampling", [420, 444])
def test_chrominance_is_pushed_where_the_gradient_is_one_of_colour(subsampling: int) -> None:
    """A gradient along Cb alone: luminance has no gain, and Pillow's decoded blue goes the gradient's way."""
    image = np.rint(as_batch(crop(0, 60, 60, 64, 64))[0] * 255).astype(np.uint8)
    wave = np.sign(np.sin(np.arange(64) / 5))[None, :] * np.ones((64, 1))
    gradient = (np.array([-0.5, -0.5, 1]).reshape(3, 1, 1) * wave).astype(np.float32)
    changes = JpegThresholds(Codec(80, subsampling), room_around(image, 6)).pushed(gradient[None])[0]
    assert np.any(changes[2] != changes[0])
    pair = [np.ascontiguousarray(p.transpose(1, 2, 0)) for p in (image, (image + changes).astype(np.uint8))]
    before, after = (pillow_jpeg(p, 80, subsampling).transpose(2, 0, 1) for p in pair)
    assert np.sum((after - before) * gradient) > 0


def room_around(levels: npt.NDArray[np.uint8], most: int) -> Room:
    """A ball of whole levels around one image."""
    exact = levels[None].astype(np.float32)
    return Room(levels=exact, low=np.maximum(-exact, -most), high=np.minimum(255 - exact, most))


@dataclass(frozen=True)
class Case:
    """Random blocks and gains."""

    blocks: Blocks
    gains: Floats


def random_case(seed: int, *, whole: bool) -> Case:
    """Ten blocks before quality 50."""
    rng = np.random.default_rng(seed)
    steps = Codec(50).steps[0]
    bounds = rng.integers(0, 4, (2, 10, 64)).astype(np.float32)
    coefficients = rng.normal(0, 2, (10, 64)).astype(np.float32)
    blocks = Blocks(coefficients=coefficients, steps=steps, low=-bounds[0], high=bounds[1], whole=whole)
    return Case(blocks, rng.normal(size=(10, 64)).astype(np.float32))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), whole=st.booleans())
def test_pushes_stay_in_their_bounds_and_never_lose(seed: int, whole: bool) -> None:
    """Whole levels where asked for; the gain is that of the coefficients of the changed samples, and never below 0."""
    case = random_case(seed, whole=whole)
    blocks, gains = case.blocks, case.gains
    changes = blocks.pushed(gains)
    assert np.all(changes >= blocks.low)
    assert np.all(changes <= blocks.high)
    if whole:
        np.testing.assert_array_equal(changes, np.rint(changes))
    found = blocks.gain(changes, gains)
    assert np.all(found >= 0)
    assert found.mean() > 0
    after = np.rint(blocks.coefficients + changes @ TRANSFORM.T / blocks.steps) - np.rint(blocks.coefficients)
    np.testing.assert_allclose(found, (after * gains).sum(axis=1), rtol=1e-4, atol=1e-4)


def test_one_coefficient_that_can_pass_does() -> None:
    """A flat block whose lowest coefficient stands 0.1 steps before the threshold, and nothing else has a gain."""
    coefficients, gains = np.zeros((1, 64), np.float32), np.zeros((1, 64), np.float32)
    coefficients[0, 0], gains[0, 0] = 3.4, 1.0
    bound = np.full((1, 64), 2, np.float32)
    blocks = Blocks(coefficients=coefficients, steps=Codec(50).steps[0], low=-bound, high=bound, whole=True)
    changes = blocks.pushed(gains)
    assert blocks.gain(changes, gains)[0] == 1
    # 0.14 of a step of 16, shared among 64 samples of weight 1/8: less than one level would do for some of them.
    assert 0 < np.abs(changes).max() <= 1
    none = blocks.pushed(np.zeros_like(gains))
    assert not none.any()


def test_a_value_is_pushed_over_its_level_only_where_the_budget_reaches() -> None:
    """Eight levels stand 36.4 apart: of all grey levels those within 2 of a threshold move, in the gradient's way."""
    levels = np.tile(np.arange(256, dtype=np.uint8), (3, 1, 1))
    thresholds = QuantiseThresholds(7.0, room_around(levels, 2))
    for direction in (1.0, -1.0):
        changes = thresholds.pushed(np.full((1, *levels.shape), direction, np.float32))[0]
        before, after = (np.rint(x * 7 / 255) for x in (levels.astype(float), levels + changes.astype(float)))
        passed = np.rint(np.clip(levels + 2 * direction, 0, 255) * 7 / 255) != before
        np.testing.assert_array_equal(changes != 0, passed)
        np.testing.assert_array_equal(after - before, direction * passed)
    assert not thresholds.pushed(np.zeros((1, *levels.shape), np.float32)).any()


def test_before_a_quantisation_every_value_that_can_pass_is_pushed() -> None:
    """The score is linear behind eight levels: the optimum is known, and a step of the sign ends there too."""
    weights = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 20, 24)).astype(np.float32))
    quantise = Quantise()

    def score(images: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = (quantise(images, torch.tensor(8.0)) * weights).sum(dim=(1, 2, 3))
        return total

    clean = as_batch(crop(0, 60, 60, 20, 24))
    result = DCTThreshold(eps=EPS, iterations=8)(clean, TorchOracle(function=score, chain=QUANTISE))
    corner = np.clip(clean + np.float32(EPS) * np.sign(weights.numpy()), 0, 1).astype(np.float32)
    np.testing.assert_allclose(result.scores, TorchOracle(function=score).score(corner), rtol=1e-5)


@pytest.mark.parametrize("chain", ["jpeg:quality=90:subsampling=4:4:4", "quantise:levels=16"])
@settings(max_examples=10, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.just(3), st.integers(1, 20), st.integers(1, 20)),
    eps=st.floats(1e-3, 1.0),
    seed=st.integers(0, 2**32 - 1),
    on_grid=st.booleans(),
)
def test_it_stays_in_its_budget_before_every_kind_of_rounding(
    chain: str, shape: tuple[int, ...], eps: float, seed: int, on_grid: bool
) -> None:
    """Sizes without a whole block, any radius; clean images need not be 8-bit, though the budget check wants it."""
    values = np.random.default_rng(seed).random(shape)
    clean = (np.rint(values * 255) / 255 if on_grid else values).astype(np.float32)
    weights = torch.from_numpy(np.random.default_rng(seed).normal(size=shape[1:]).astype(np.float32))
    oracle = TorchOracle(function=lambda x: (x * weights).sum(dim=(1, 2, 3)), chain=parse_chain(chain))
    attack = DCTThreshold(eps=eps, iterations=2)
    result = attack(clean, oracle)
    assert np.abs(result.attacked.astype(np.float64) - clean).max() <= eps
    if on_grid:
        require_budget(attack, clean, result)


@pytest.mark.parametrize("chain", ["none", "blur:kernel=3+jpeg:quality=50:subsampling=4:2:0", "noise:sigma=0.05"])
def test_a_chain_that_does_not_begin_with_rounding_is_refused_in_one_line(chain: str) -> None:
    """The message says what it needs and what it met."""
    oracle = TorchOracle(function=lambda x: x.mean(dim=(1, 2, 3)), chain=parse_chain(chain))
    with pytest.raises(ChainMismatchError) as caught:
        DCTThreshold()(np.zeros((1, 3, 8, 8), np.float32), oracle)
    assert (
        str(caught.value) == f"attack 'dct-threshold' needs a chain whose first step is jpeg or quantise, not {chain}"
    )


def test_another_seed_moves_other_cells() -> None:
    """The random parts follow from the seed, and restarts draw other ones."""
    _, compressed = copies(10)
    oracle, attack = behind_jpeg(), DCTThreshold(eps=EPS, iterations=3)
    first, again, other = (attack(compressed[:1], oracle, seeds=[seed]).attacked for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    two = DCTThreshold(eps=EPS, iterations=3, restarts=2)(compressed[:1], oracle, seeds=[1])
    assert two.scores[0] >= oracle.score(first)[0]
    assert len(two.trace) == 2 * 4 + 1


def test_parameters_out_of_range_are_refused() -> None:
    """The message names the parameter."""
    with pytest.raises(AttackSpecError, match="nu must be at least 0"):
        parse_attack("dct-threshold:nu=-1")
    with pytest.raises(AttackSpecError, match="iterations must be at least 1"):
        parse_attack("dct-threshold:iterations=0")
