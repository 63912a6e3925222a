"""The cubic derivative of rounding against autograd through codecs written for the test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreguard.chain.bpda import pass_cubic
from scoreguard.chain.rounding import Rounding, any_rounds, pulled_back, rounds
from scoreguard.v1 import scoring_pb2
from scoreguard.v1.spec import Step, parse_chain
from scoreguard_export.defences import jpeg as jpeg_module
from scoreguard_export.defences.jpeg import Jpeg
from scoreguard_export.defences.quantise import Quantise

RNG = np.random.default_rng(3)


def cubic_round(value: Tensor) -> Tensor:
    """round(x) with the derivative of round(x) + (x - round(x))^3, 0.01 at least."""
    whole = torch.round(value)
    offset = value - whole.detach()
    soft = whole.detach() + torch.where(3 * offset.detach() ** 2 > 0.01, offset**3, 0.01 * offset)
    return soft + (whole - soft).detach()


def straight_blocks(round_coefficients: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A float codec of blocks that rounds nothing but its coefficients."""

    def code(planes: Tensor, transform: Tensor, table: Tensor) -> Tensor:
        batch, channels, height, width = planes.shape
        cosines = transform / 8192 / 8**0.5
        blocks = planes.double().reshape(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4) - 128
        coefficients = cosines @ blocks @ cosines.T / table
        decoded = cosines.T @ (round_coefficients(coefficients) * table) @ cosines + 128
        return decoded.transpose(3, 4).reshape(planes.shape).to(planes.dtype)

    return code


@pytest.mark.parametrize("subsampling", [420.0, 444.0])
@pytest.mark.parametrize("size", [(32, 48), (21, 35)])
def test_through_jpeg_it_is_autograds_through_coefficients_rounded_cubically(
    subsampling: float, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the coefficients round softly: colour, sampling and levels stay straight through."""
    images = (RNG.integers(20, 236, (2, 3, *size)) / 255).astype(np.float32)
    upstream = RNG.normal(size=images.shape).astype(np.float32)
    monkeypatch.setattr(jpeg_module, "code_blocks", straight_blocks(cubic_round))
    leaf = torch.from_numpy(images).requires_grad_()
    decoded = Jpeg(subsampling=subsampling)(leaf, torch.tensor(50.0))
    (expected,) = torch.autograd.grad((decoded * torch.from_numpy(upstream)).sum(), leaf)
    step = Step(
        name="jpeg", parameters=(("quality", 50.0), ("subsampling", "4:2:0" if subsampling == 420 else "4:4:4"))
    )
    found = pulled_back(step, images, upstream)
    assert np.abs(found - expected.numpy()).max() < 0.01 * float(expected.abs().max())
    assert np.abs(expected.numpy()).max() > 0.1


@pytest.mark.parametrize("levels", [2.0, 16.0, 256.0])
def test_through_quantise_it_is_three_times_the_squared_distance_from_the_level(levels: float) -> None:
    """A hundredth on a level, three quarters at a threshold."""
    images = RNG.random((2, 3, 4, 5), dtype=np.float32)
    upstream = RNG.normal(size=images.shape).astype(np.float32)
    leaf = torch.from_numpy(images).double().requires_grad_()
    (expected,) = torch.autograd.grad(
        (cubic_round(leaf * (levels - 1)) / (levels - 1) * torch.from_numpy(upstream)).sum(), leaf
    )
    step = Step(name="quantise", parameters=(("levels", levels),))
    np.testing.assert_allclose(pulled_back(step, images, upstream), expected.numpy(), atol=2e-4)
    at_threshold = np.full((1, 3, 1, 1), 0.5 / (levels - 1), np.float32)
    np.testing.assert_allclose(pulled_back(step, at_threshold, np.ones_like(at_threshold)), 0.75, rtol=1e-3)
    on_level = np.full((1, 3, 1, 1), 1 / (levels - 1), np.float32)
    np.testing.assert_allclose(pulled_back(step, on_level, np.ones_like(on_level)), 0.01)


@pytest.mark.parametrize(
    "step",
    [
        Step(name="jpeg", parameters=(("quality", 50.0), ("subsampling", "4:2:0"))),
        Step(name="jpeg", parameters=(("quality", 50.0), ("subsampling", "4:4:4"))),
        Step(name="quantise", parameters=(("levels", 256.0),)),
    ],
)
def test_where_every_number_stands_between_two_thresholds_the_gradient_still_leads_somewhere(step: Step) -> None:
    """A flat grey image, whose coefficients are all 0: the direction is that of straight through, a hundredth long."""
    images = np.full((1, 3, 16, 16), 128 / 255, np.float32)
    upstream = RNG.normal(size=images.shape).astype(np.float32)
    found = pulled_back(step, images, upstream)
    assert np.mean(found != 0) > 0.9
    assert np.sum(found * upstream) > 0


def test_the_value_stays_that_of_the_graph_to_the_last_bit() -> None:
    """Only the way back differs."""
    images = torch.from_numpy(RNG.random((1, 3, 6, 7), dtype=np.float32)).requires_grad_()
    step = Step(name="quantise", parameters=(("levels", 16.0),))
    with torch.no_grad():
        purified = Quantise()(images, torch.tensor(16.0))
    soft = pass_cubic(step, images, purified)
    assert torch.equal(soft, purified)
    assert soft.requires_grad


def test_only_jpeg_and_quantise_round_so_that_it_matters() -> None:
    """Other defences have their own derivatives."""
    assert [rounds(step) for step in parse_chain("jpeg+blur+quantise")] == [True, False, True]
    assert any_rounds(parse_chain("blur+jpeg"))
    assert not any_rounds(parse_chain("blur+median"))
    assert not any_rounds(())


def test_the_wire_form_goes_there_and_back_and_an_unknown_number_is_refused() -> None:
    """Nothing said is straight through."""
    assert [Rounding.from_message(kind.to_message()) for kind in Rounding] == list(Rounding)
    assert Rounding.from_message(scoring_pb2.ROUNDING_UNSPECIFIED) is Rounding.STRAIGHT_THROUGH
    with pytest.raises(ValueError, match="no rounding 7; there are 0"):
        Rounding.from_message(7)
