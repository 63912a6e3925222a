"""Every defence by name. To add one, add a file next to this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scoreguard.catalogue import Catalogue
from scoreguard_export.defences.base import Defence

CATALOGUE: Final = Catalogue[Defence](
    kind="defence",
    base=Defence,
    own={
        "bilateral": "scoreguard_export.defences.bilateral:Bilateral",
        "blur": "scoreguard_export.defences.blur:Blur",
        "flip": "scoreguard_export.defences.flip:Flip",
        "jpeg": "scoreguard_export.defences.jpeg:Jpeg",
        "median": "scoreguard_export.defences.median:Median",
        "nlm": "scoreguard_export.defences.nlm:NonLocalMeans",
        "quantise": "scoreguard_export.defences.quantise:Quantise",
        "resize": "scoreguard_export.defences.resize:Resize",
        "tv": "scoreguard_export.defences.tv:TotalVariation",
        "unsharp": "scoreguard_export.defences.unsharp:Unsharp",
        "upscale": "scoreguard_export.defences.upscale:Upscale",
        "wavelet": "scoreguard_export.defences.wavelet:Wavelet",
        "crop": "scoreguard_export.defences.crop:Crop",
        "noise": "scoreguard_export.defences.noise:Noise",
        "rotate": "scoreguard_export.defences.rotate:Rotate",
        "denoiser": "scoreguard_export.defences.denoiser:Denoiser",
        "diffpure": "scoreguard_export.defences.diffpure:DiffPure",
        "diffpure-edge": "scoreguard_export.defences.diffpure:DiffPureEdge",
        "diffpure-unsharp": "scoreguard_export.defences.diffpure:DiffPureUnsharp",
        "fcn-filter": "scoreguard_export.defences.fcn_filter:FcnFilter",
        "bfcnn": "scoreguard_export.defences.bfcnn:BfCnn",
        "carn": "scoreguard_export.defences.carn:Carn",
        "fbcnn": "scoreguard_export.defences.fbcnn:FbCnn",
        "ffdnet": "scoreguard_export.defences.ffdnet:FfdNet",
        "mprnet": "scoreguard_export.defences.mprnet:MprNet",
        "realesrgan": "scoreguard_export.defences.realesrgan:RealEsrgan",
    },
)


def defence_named(name: str) -> type[Defence]:
    """Find a defence; its variants are built with `defence_named(name).from_weights(files, **structural)`.

    Raises:
        UnknownNameError: no defence has this name; the message lists similar names.
    """
    return CATALOGUE[name]


def buildable(files: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the defences that can be built from shipped and given weights files, in catalogue order."""
    return tuple(name for name, defence in CATALOGUE.items() if defence.at_hand(files))


def chosen_variants(name: str, files: Mapping[str, Path], *, default_only: bool) -> list[dict[str, float]]:
    """Return the structural variants of a defence that can be built, or only its default one.

    Raises:
        UnknownNameError: no defence has this name.
        WeightsError: its weights are neither shipped nor given.
    """
    defence = defence_named(name)
    variants = defence.variants(files)
    default = {parameter.name: parameter.default for parameter in defence.facts.structural}
    return [default] if default_only and default in variants else variants
