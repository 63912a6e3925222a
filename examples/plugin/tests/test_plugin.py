"""Check that each class obeys every rule of its kind: one call each."""

from __future__ import annotations

from pathlib import Path

import torch
from scoreguard_example.tiny import Tiny

from scoreguard_client.testing import check_attack
from scoreguard_export.testing import check_defence, check_metric


def test_sharpness_obeys_every_rule() -> None:
    """A metric without weights."""
    check_metric("sharpness")


def test_tiny_obeys_every_rule_with_any_weights(tmp_path: Path) -> None:
    """A metric whose weights are passed as a path; here they are random."""
    torch.manual_seed(3)
    torch.save(Tiny().state_dict(), tmp_path / "tiny.pth")
    check_metric("tiny", files={"tiny": tmp_path / "tiny.pth"})


def test_gamma_obeys_every_rule() -> None:
    """Holds at every exponent, also on black."""
    check_defence("gamma")


def test_nifgsm_obeys_every_rule() -> None:
    """Holds in both modes, with few steps."""
    check_attack("nifgsm:iterations=3")
    check_attack("nifgsm:iterations=3:mode=benchmark")
