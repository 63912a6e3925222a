"""Every defence by name. A new one is a file beside this and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.bfcnn import BfCnn
from scoreguard_export.defences.bilateral import Bilateral
from scoreguard_export.defences.blur import Blur
from scoreguard_export.defences.carn import Carn
from scoreguard_export.defences.crop import Crop
from scoreguard_export.defences.denoiser import Denoiser
from scoreguard_export.defences.diffpure import DiffPure, DiffPureEdge, DiffPureUnsharp
from scoreguard_export.defences.fbcnn import FbCnn
from scoreguard_export.defences.fcn_filter import FcnFilter
from scoreguard_export.defences.ffdnet import FfdNet
from scoreguard_export.defences.flip import Flip
from scoreguard_export.defences.jpeg import Jpeg
from scoreguard_export.defences.median import Median
from scoreguard_export.defences.mprnet import MprNet
from scoreguard_export.defences.nlm import NonLocalMeans
from scoreguard_export.defences.noise import Noise
from scoreguard_export.defences.quantise import Quantise
from scoreguard_export.defences.realesrgan import RealEsrgan
from scoreguard_export.defences.resize import Resize
from scoreguard_export.defences.rotate import Rotate
from scoreguard_export.defences.tv import TotalVariation
from scoreguard_export.defences.unsharp import Unsharp
from scoreguard_export.defences.upscale import Upscale
from scoreguard_export.defences.wavelet import Wavelet
from scoreguard_export.errors import UnknownNameError

CATALOGUE: dict[str, type[Defence]] = {
    "bilateral": Bilateral,
    "blur": Blur,
    "flip": Flip,
    "jpeg": Jpeg,
    "median": Median,
    "nlm": NonLocalMeans,
    "quantise": Quantise,
    "resize": Resize,
    "tv": TotalVariation,
    "unsharp": Unsharp,
    "upscale": Upscale,
    "wavelet": Wavelet,
    "crop": Crop,
    "noise": Noise,
    "rotate": Rotate,
    "denoiser": Denoiser,
    "diffpure": DiffPure,
    "diffpure-edge": DiffPureEdge,
    "diffpure-unsharp": DiffPureUnsharp,
    "fcn-filter": FcnFilter,
    "bfcnn": BfCnn,
    "carn": Carn,
    "fbcnn": FbCnn,
    "ffdnet": FfdNet,
    "mprnet": MprNet,
    "realesrgan": RealEsrgan,
}


def defence_named(name: str) -> type[Defence]:
    """Find a defence; its variants are built with `defence_named(name).from_weights(files, **structural)`.

    Raises:
        UnknownNameError: no defence has this name; the message lists the near ones.
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        raise UnknownNameError("defence", name, CATALOGUE) from None


def buildable(files: Mapping[str, Path]) -> tuple[str, ...]:
    """Defences that can be built from what is shipped and the weights files given, in the order of the catalogue."""
    return tuple(name for name, defence in CATALOGUE.items() if defence.at_hand(files))


def chosen_variants(name: str, files: Mapping[str, Path], *, default_only: bool) -> list[dict[str, float]]:
    """The structural variants of a defence that can be built, or its default one alone.

    Raises:
        UnknownNameError: no defence has this name.
        WeightsError: its weights are neither shipped nor given.
    """
    defence = defence_named(name)
    variants = defence.variants(files)
    default = {parameter.name: parameter.default for parameter in defence.facts.structural}
    return [default] if default_only and default in variants else variants
