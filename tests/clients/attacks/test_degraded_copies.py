"""Degraded copies as a campaign makes them: those of the catalogue of degradations, on the 8-bit grid."""

from __future__ import annotations

import io

import numpy as np
import pytest
from photographs import crop
from PIL import Image
from tests.clients.attacks.conftest import ConstantOracle

from scoreguard_client.attacks import CATALOGUE, AttackSpecError, Needs, parse_attack
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.attacks.degraded.catalogue import DEGRADED_COPIES, STRENGTHS, campaign_copies
from scoreguard_client.campaign.selection import written_out_attacks
from scoreguard_client.degradations import DEGRADATIONS
from scoreguard_client.oracles.base import Images

PHOTOGRAPHS = (crop(0, 0, 0, 61, 45), crop(2, 50, 100, 61, 45))


def batch() -> Images:
    """Two photographs of odd sides, as campaigns read them."""
    clean = np.stack([photograph.transpose(2, 0, 1) for photograph in PHOTOGRAPHS])
    return np.divide(clean, 255, dtype=np.float32)


def test_every_degradation_has_a_copy_of_its_name_and_title() -> None:
    """Neither catalogue can grow without the other."""
    assert list(DEGRADED_COPIES) == [f"degraded-{name}" for name in DEGRADATIONS]
    for kind, degradation in zip(DEGRADED_COPIES.values(), DEGRADATIONS.values(), strict=True):
        assert (kind.degradation, kind.title) == (degradation.name, degradation.title)
        assert (kind.is_degradation, kind.needs) == (True, Needs.NOTHING)


def test_a_campaign_makes_eighteen_copies_in_rising_strength() -> None:
    """Their texts are read back as the same copies."""
    copies = campaign_copies()
    assert [(copy.degradation, copy.strength) for copy in copies] == [
        (name, strength) for name in DEGRADATIONS for strength in STRENGTHS
    ]
    assert str(copies[1]) == "degraded-blur:direction=up:strength=3"
    assert tuple(parse_attack(str(copy)) for copy in copies) == copies


def test_no_attack_is_a_degraded_copy_and_all_attacks_have_none() -> None:
    """Whatever runs every attack runs none of these, and lists of attacks do not have them."""
    assert not [name for name in CATALOGUE if kind_of(name).is_degradation]
    text, left_out = written_out_attacks("all", lambda name: True)
    assert "degraded" not in text
    assert not [entry for entry in left_out if "degraded" in entry.name]


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_copy_is_the_degradation_of_the_image_file(name: str) -> None:
    """As on the 8-bit image directly, with each image's own seed; one score is asked, of the finished copy."""
    for strength in (1, 5):
        oracle = ConstantOracle(4.0)
        result = parse_attack(f"degraded-{name}:strength={strength}")(batch(), oracle, seeds=(3, 8))
        wanted = [
            DEGRADATIONS[name].apply(photograph, strength, seed=seed)
            for photograph, seed in zip(PHOTOGRAPHS, (3, 8), strict=True)
        ]
        assert np.array_equal(result.attacked_8bit.transpose(0, 2, 3, 1), np.stack(wanted))
        assert np.array_equal(result.attacked, np.divide(result.attacked_8bit, 255, dtype=np.float32))
        assert result.queries.tolist() == [1, 1]
        assert result.flags == ("", "")


def test_a_compressed_copy_is_pillows() -> None:
    """Quality 15 with halved chroma, of the file that the image was."""
    file = io.BytesIO()
    Image.fromarray(PHOTOGRAPHS[0]).save(file, "JPEG", quality=15, subsampling="4:2:0")
    result = parse_attack("degraded-jpeg")(batch()[:1], ConstantOracle(4.0))
    assert np.array_equal(result.attacked_8bit[0].transpose(1, 2, 0), np.asarray(Image.open(file)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("degraded-blur:strength=6", "strength must be 1 to 5, not 6"),
        ("degraded-blur:strength=0", "strength must be 1 to 5, not 0"),
        ("degraded-noise:direction=down", "a degraded copy has no direction"),
        ("degraded-nose", "degraded-noise"),
        ("degraded-blur:eps=1", "no parameter 'eps'"),
    ],
)
def test_a_copy_that_there_is_not_is_refused(text: str, said: str) -> None:
    """In one line."""
    with pytest.raises(AttackSpecError, match=said):
        parse_attack(text)
