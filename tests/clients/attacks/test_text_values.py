"""Texts of attacks whose values hold the marks that separate parameters and attacks."""

from __future__ import annotations

import pytest

from scoreguard_client.attacks import parse_attack, parse_attacks
from scoreguard_client.attacks.generative_uap import GenerativeUAP
from scoreguard_client.attacks.text_values import escaped, unescaped
from scoreguard_client.attacks.zhang_lpips import ZhangLPIPS

ODD = ["C:\\weights", "a,b:c", "100%", "%3A", "%253a", "%%2C:%", "%2:5", "a=b", "naïve + café"]


@pytest.mark.parametrize("value", ODD)
def test_any_value_reads_back_from_a_text_without_marks(value: str) -> None:
    """Escapes of escapes too."""
    assert unescaped(escaped(value)) == value
    assert not set(":,") & set(escaped(value))


@pytest.mark.parametrize("value", ["runs/uap.npy", "100%.npy", "a%20b", "%", "x%2"])
def test_a_value_without_marks_stays_as_it_is(value: str) -> None:
    """So that records of earlier versions are found again."""
    assert escaped(value) == unescaped(value) == value


@pytest.mark.parametrize("value", ODD)
def test_attacks_with_any_path_keep_their_identity_in_a_list(value: str) -> None:
    """Beside others, separated by commas."""
    attacks = (ZhangLPIPS(weights=value), GenerativeUAP(file=value, amplitude=0.2))
    assert parse_attacks(",".join(map(str, attacks))) == attacks


def test_small_letters_are_read_as_well() -> None:
    """As addresses allow."""
    attack = parse_attack("generative-uap:file=c%3a/a%2cb.npy")
    assert attack == GenerativeUAP(file="c:/a,b.npy")
