"""Learned defences on images smaller than the squares that their networks read as one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scoreguard_export.defences.bfcnn import BfCnn
from scoreguard_export.defences.carn import Carn
from scoreguard_export.defences.denoiser import Denoiser
from scoreguard_export.defences.fbcnn import FbCnn
from scoreguard_export.defences.fcn_filter import FcnFilter
from scoreguard_export.defences.ffdnet import FfdNet
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.defences.mprnet import MprNet
from scoreguard_export.defences.mprnet_network import MprNetwork
from scoreguard_export.defences.realesrgan import RealEsrgan


class SlimMprNet(MprNet):
    """The same layers, narrow enough for a test."""

    def untrained(self) -> MprNetwork:
        """Make a narrow network."""
        return MprNetwork(width=16, step=8, extra=8, units=2)


ANY_SIZE: list[type[LearnedDefence]] = [BfCnn, Carn, Denoiser, FbCnn, FcnFilter, FfdNet, RealEsrgan]


def purified(kind: type[LearnedDefence], height: int, width: int) -> Tensor:
    """What an untrained network makes of two images of noise, at the default parameters."""
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    values = [torch.tensor(parameter.default) for parameter in kind.facts.graph_parameters]
    with torch.no_grad():
        output: Tensor = kind().eval()(image, *values)
    return output


@pytest.mark.parametrize("kind", [*ANY_SIZE, SlimMprNet], ids=lambda kind: kind.facts.name)
def test_the_minimum_size_is_enough(kind: type[LearnedDefence]) -> None:
    """At the least size of the facts, and where both sides differ and are odd, an image stays an image."""
    least = kind.facts.minimum_size
    for height, width in ((least, least), (least, least + 1), (least + 2, least), (7, 5)):
        output = purified(kind, height, width)
        assert output.shape == (2, 3, height, width)
        assert 0.0 <= float(output.min()) <= float(output.max()) <= 1.0


@pytest.mark.parametrize("kind", ANY_SIZE, ids=lambda kind: kind.facts.name)
def test_one_pixel_is_an_image(kind: type[LearnedDefence]) -> None:
    """These have no minimum."""
    assert kind.facts.minimum_size == 1


def test_mprnet_cannot_do_with_less_than_it_says() -> None:
    """Four rows or columns mirror to seven, and the network reads eight."""
    for height, width in ((4, 9), (9, 4)):
        with pytest.raises(IndexError, match="out of range"):
            purified(SlimMprNet, height, width)
