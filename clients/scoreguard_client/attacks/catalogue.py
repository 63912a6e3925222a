"""The attacks, and their text form: `ifgsm:eps=8/255:iterations=20`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, get_type_hints

from scoreguard.catalogue import Catalogue
from scoreguard.support.near import did_you_mean
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.degraded.catalogue import DEGRADED_COPIES
from scoreguard_client.attacks.errors import AttackSpecError
from scoreguard_client.attacks.external import MADE_ELSEWHERE, External
from scoreguard_client.attacks.text_values import unescaped

CATALOGUE: Final = Catalogue[Attack](
    kind="attack",
    base=Attack,
    own={
        "fgsm": "scoreguard_client.attacks.fgsm:FGSM",
        "ifgsm": "scoreguard_client.attacks.ifgsm:IFGSM",
        "mifgsm": "scoreguard_client.attacks.mifgsm:MIFGSM",
        "amifgsm": "scoreguard_client.attacks.amifgsm:AMIFGSM",
        "korhonen": "scoreguard_client.attacks.korhonen:Korhonen",
        "ssah": "scoreguard_client.attacks.ssah:SSAH",
        "madc": "scoreguard_client.attacks.madc:MADC",
        "zhang-ssim": "scoreguard_client.attacks.zhang_ssim:ZhangSSIM",
        "zhang-lpips": "scoreguard_client.attacks.zhang_lpips:ZhangLPIPS",
        "zhang-dists": "scoreguard_client.attacks.zhang_dists:ZhangDISTS",
        "advcf": "scoreguard_client.attacks.advcf:AdvCF",
        "cumulative-uap": "scoreguard_client.attacks.cumulative_uap:CumulativeUAP",
        "optimized-uap": "scoreguard_client.attacks.optimized_uap:OptimizedUAP",
        "generative-uap": "scoreguard_client.attacks.generative_uap:GenerativeUAP",
        "momentum-uap": "scoreguard_client.attacks.momentum_uap:MomentumUAP",
        "pgd": "scoreguard_client.attacks.pgd:PGD",
        "apgd": "scoreguard_client.attacks.apgd:APGD",
        "mpgd": "scoreguard_client.attacks.mpgd:MPGD",
        "dct-threshold": "scoreguard_client.attacks.dct_threshold:DCTThreshold",
        "ioi": "scoreguard_client.attacks.ioi:IOI",
        "square": "scoreguard_client.attacks.square:Square",
        "nes": "scoreguard_client.attacks.nes:NES",
        "spsa": "scoreguard_client.attacks.spsa:SPSA",
        "simba": "scoreguard_client.attacks.simba:SimBA",
        "onepixel": "scoreguard_client.attacks.onepixel:OnePixel",
        "patch-rs": "scoreguard_client.attacks.patch:PatchRS",
        "auto": "scoreguard_client.attacks.auto:Auto",
        "free-jpeg": "scoreguard_client.attacks.free.jpeg:FreeJPEG",
        "free-webp": "scoreguard_client.attacks.free.webp:FreeWebP",
        "free-avif": "scoreguard_client.attacks.free.avif:FreeAVIF",
        "free-sharpen": "scoreguard_client.attacks.free.sharpen:FreeSharpen",
        "free-contrast": "scoreguard_client.attacks.free.contrast:FreeContrast",
        "free-saturation": "scoreguard_client.attacks.free.saturation:FreeSaturation",
        "free-denoise": "scoreguard_client.attacks.free.denoise:FreeDenoise",
        "free-rescale": "scoreguard_client.attacks.free.rescale:FreeRescale",
        "free-sharpen-after-blur": "scoreguard_client.attacks.free.sharpen_after_blur:FreeSharpenAfterBlur",
        "free-grain": "scoreguard_client.attacks.free.grain:FreeGrain",
        "free-best": "scoreguard_client.attacks.free.best:FreeBest",
    },
)
"""Name -> class: attacks of the studies first, then further gradient attacks, black-box attacks, the ensemble, and
everyday edits."""


def parse_attack(text: str) -> Attack:
    """Read an attack; numbers may be fractions such as 8/255, `:` and `,` in a path are written `%3A` and `%2C`.

    Raises:
        AttackSpecError: the name or a parameter is unknown (near names are listed), or a value does not fit.
    """
    return attack_of(kind_of(text), text)


def attack_of(kind: type[Attack], text: str) -> Attack:
    """Read the parameters of an attack whose class is known, ignoring the name in the text.

    Raises:
        AttackSpecError: a parameter is unknown (near names are listed), or a value does not fit.
    """
    pairs, types = text.strip().split(":")[1:], parameter_types(kind)
    values = dict(_parse_pair(pair, text, types) for pair in pairs)
    if len(values) != len(pairs):
        raise AttackSpecError(text, "a parameter is given twice")
    return kind(**values)


def kind_of(text: str) -> type[Attack]:
    """Return the class of an attack, or of a degraded copy, from its text form.

    Raises:
        AttackSpecError: the name is unknown.
    """
    name = text.strip().split(":")[0]
    if name in DEGRADED_COPIES:
        return DEGRADED_COPIES[name]
    if name == External.name:
        return External
    if name not in CATALOGUE:
        raise AttackSpecError(text, f"no attack {name!r}; {did_you_mean(name, [*CATALOGUE, *DEGRADED_COPIES])}")
    return CATALOGUE[name]


def parse_attacks(text: str) -> tuple[Attack, ...]:
    """Read a comma-separated list from the command line; duplicates count once.

    Raises:
        AttackSpecError: one of the texts is not an attack, or one that was made elsewhere.
    """
    attacks = tuple(dict.fromkeys(parse_attack(part) for part in text.split(",")))
    if (external := next((attack for attack in attacks if isinstance(attack, External)), None)) is not None:
        raise AttackSpecError(str(external), MADE_ELSEWHERE)
    return attacks


def parameter_types(kind: type[Attack]) -> dict[str, type]:
    """Return the parameters of an attack and their types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _parse_pair(pair: str, text: str, types: Mapping[str, type]) -> tuple[str, Any]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise AttackSpecError(text, f"{pair!r} is not key=value")
    if key not in types:
        raise AttackSpecError(text, f"no parameter {key!r}; {did_you_mean(key, types)}")
    try:
        return key, _reader(types[key])(value)
    except (ValueError, ZeroDivisionError):
        raise AttackSpecError(text, f"{value!r} is no value for {key!r}; it takes {_form(types[key])}") from None


def _reader(kind: type) -> Callable[[str], Any]:
    if kind is float:
        return lambda text: float(Fraction(text))
    return unescaped if kind is str else kind


def _form(kind: type) -> str:
    return " or ".join(kind) if issubclass(kind, StrEnum) else _FORMS.get(kind, "a text")


_FORMS: Final = {float: "a number or a fraction", int: "a whole number"}
