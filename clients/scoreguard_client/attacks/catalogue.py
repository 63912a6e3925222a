"""The attacks, and their text form: `ifgsm:eps=8/255:iterations=20`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final, get_type_hints

from scoreguard_client.attacks.advcf import AdvCF
from scoreguard_client.attacks.amifgsm import AMIFGSM
from scoreguard_client.attacks.apgd import APGD
from scoreguard_client.attacks.auto import Auto
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.cumulative_uap import CumulativeUAP
from scoreguard_client.attacks.dct_threshold import DCTThreshold
from scoreguard_client.attacks.errors import AttackSpecError
from scoreguard_client.attacks.fgsm import FGSM
from scoreguard_client.attacks.generative_uap import GenerativeUAP
from scoreguard_client.attacks.ifgsm import IFGSM
from scoreguard_client.attacks.ioi import IOI
from scoreguard_client.attacks.korhonen import Korhonen
from scoreguard_client.attacks.madc import MADC
from scoreguard_client.attacks.mifgsm import MIFGSM
from scoreguard_client.attacks.momentum_uap import MomentumUAP
from scoreguard_client.attacks.mpgd import MPGD
from scoreguard_client.attacks.nes import NES
from scoreguard_client.attacks.onepixel import OnePixel
from scoreguard_client.attacks.optimized_uap import OptimizedUAP
from scoreguard_client.attacks.patch import PatchRS
from scoreguard_client.attacks.pgd import PGD
from scoreguard_client.attacks.simba import SimBA
from scoreguard_client.attacks.spsa import SPSA
from scoreguard_client.attacks.square import Square
from scoreguard_client.attacks.ssah import SSAH
from scoreguard_client.attacks.zhang_dists import ZhangDISTS
from scoreguard_client.attacks.zhang_lpips import ZhangLPIPS
from scoreguard_client.attacks.zhang_ssim import ZhangSSIM

CATALOGUE: Final[Mapping[str, type[Attack]]] = MappingProxyType(
    {
        "fgsm": FGSM,
        "ifgsm": IFGSM,
        "mifgsm": MIFGSM,
        "amifgsm": AMIFGSM,
        "korhonen": Korhonen,
        "ssah": SSAH,
        "madc": MADC,
        "zhang-ssim": ZhangSSIM,
        "zhang-lpips": ZhangLPIPS,
        "zhang-dists": ZhangDISTS,
        "advcf": AdvCF,
        "cumulative-uap": CumulativeUAP,
        "optimized-uap": OptimizedUAP,
        "generative-uap": GenerativeUAP,
        "momentum-uap": MomentumUAP,
        "pgd": PGD,
        "apgd": APGD,
        "mpgd": MPGD,
        "dct-threshold": DCTThreshold,
        "ioi": IOI,
        "square": Square,
        "nes": NES,
        "spsa": SPSA,
        "simba": SimBA,
        "onepixel": OnePixel,
        "patch-rs": PatchRS,
        "auto": Auto,
    }
)
"""Name -> class: those of the studies first, then further gradient attacks, black-box attacks, and the ensemble."""


def parse_attack(text: str) -> Attack:
    """Read an attack; numbers may be fractions such as 8/255.

    Raises:
        AttackSpecError: the name or a parameter is unknown (near names are listed), or a value does not fit.
    """
    kind, pairs = kind_of(text), text.strip().split(":")[1:]
    types = parameter_types(kind)
    values = dict(_parse_pair(pair, text, types) for pair in pairs)
    if len(values) != len(pairs):
        raise AttackSpecError(text, "a parameter is given twice")
    return kind(**values)


def kind_of(text: str) -> type[Attack]:
    """The class of an attack in its text form.

    Raises:
        AttackSpecError: the name is unknown.
    """
    name = text.strip().split(":")[0]
    if name not in CATALOGUE:
        raise AttackSpecError(text, f"no attack {name!r}; {_near(name, CATALOGUE)}")
    return CATALOGUE[name]


def parse_attacks(text: str) -> tuple[Attack, ...]:
    """Read a comma-separated list, as the command line gives it; one given twice counts once.

    Raises:
        AttackSpecError: one of the texts is not an attack.
    """
    return tuple(dict.fromkeys(parse_attack(part) for part in text.split(",")))


def parameter_types(kind: type[Attack]) -> dict[str, type]:
    """The parameters of an attack and the type of each."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _parse_pair(pair: str, text: str, types: Mapping[str, type]) -> tuple[str, Any]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise AttackSpecError(text, f"{pair!r} is not key=value")
    if key not in types:
        raise AttackSpecError(text, f"no parameter {key!r}; {_near(key, types)}")
    try:
        return key, _reader(types[key])(value)
    except (ValueError, ZeroDivisionError):
        raise AttackSpecError(text, f"{value!r} is no value for {key!r}; it takes {_form(types[key])}") from None


def _near(name: str, names: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(names)}"


def _reader(kind: type) -> Callable[[str], Any]:
    return (lambda text: float(Fraction(text))) if kind is float else kind


def _form(kind: type) -> str:
    return " or ".join(kind) if issubclass(kind, StrEnum) else _FORMS.get(kind, "a text")


_FORMS: Final = {float: "a number or a fraction", int: "a whole number"}
