"""ST-LPIPS (Ghildyal and Liu, ECCV 2022): LPIPS on an AlexNet that hardly notices a shift by a pixel.

    D(x', x) = sum over layers of mean over space of lin_l (F_l(x') - F_l(x))^2

F_l are the layer's features, divided at each place by their length over the channels. The AlexNet takes single steps
where the original strides, and each halving is a blur pool: the 3 x 3 binomial filter of the file at every second
place, after reflecting two pixels at each side. This module is written from that description, in torch alone; the
authors' distribution includes code for it whose licence forbids commercial use.

The file is complete, backbone included: `alex_shift_tolerant.pth`, version ST0.0, BSD-2-Clause. It may hold half
precision; the arithmetic is single.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from scoreguard.support.weights_folder import weights_folder
from scoreguard_client._exceptions import MissingExtraError
from scoreguard_client._extras import require_torch
from scoreguard_client.attacks.errors import AttackInputError
from scoreguard_client.attacks.full_reference import Distance
from scoreguard_client.attacks.weights_files import UNREADABLE, HeadFile, WeightsFileError, read_tensors

NAME: Final = "st-lpips"
"""What `weights` says for the file in the folder of fetched weights."""
SMALLEST_SIDE: Final = 21
"""Shortest side, in pixels, that leaves the last blur pool the three values that it reflects."""

_CONVOLUTIONS: Final[Mapping[str, tuple[int, int, int]]] = {
    "net.slice1.0": (64, 3, 11),
    "net.slice2.5": (192, 64, 5),
    "net.slice3.9": (384, 192, 3),
    "net.slice4.11": (256, 384, 3),
    "net.slice5.13": (256, 256, 3),
}
"""Channels out, channels in and side of each kernel; the features after each are compared."""
_FILTERS: Final = {"net.slice1.1.filt": 64, "net.slice2.4.filt": 64, "net.slice3.8.filt": 192}
_MARKS: Final = ("scaling_layer.shift", "net.slice1.0.weight")
"""Tensors that tell a file of ST-LPIPS from others."""
_LARGEST: Final = 64 << 20
"""Bytes above which a file is not opened to see what it is; this one has 5 or 10 million, VGG16's 528."""
_REFLECTED: Final = 2
_TINY: Final = 1e-10
"""Added to a length, as in LPIPS."""


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"scaling_layer.{name}": (1, 3, 1, 1) for name in ("shift", "scale")}
    shapes |= {name: (channels, 1, 3, 3) for name, channels in _FILTERS.items()}
    for index, (name, (outputs, inputs, side)) in enumerate(_CONVOLUTIONS.items()):
        shapes |= {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}
        shapes[f"lin{index}.model.1.weight"] = (1, outputs, 1, 1)
    return shapes


ST_LPIPS_FILE: Final = HeadFile(
    name="alex_shift_tolerant.pth",
    source="stlpips_pytorch/weights/vST0.0 in the wheel of stlpips-pytorch 0.0.2, BSD-2-Clause",
    shapes=_shapes(),
)


def network_file(weights: str) -> Path | None:
    """Return the file of ST-LPIPS that a user's text means: its path, or `st-lpips`; None if it means another.

    Raises:
        WeightsFileError: `st-lpips` is asked for and not in the folder of fetched weights.
    """
    if weights == NAME:
        return _fetched()
    path = Path(weights).expanduser()
    if not path.is_file() or path.stat().st_size > _LARGEST:
        return None
    try:
        state = require_torch("weights").load(path, map_location="cpu", weights_only=True)
    except UNREADABLE:
        return None
    return path if isinstance(state, Mapping) and all(name in state for name in _MARKS) else None


def _fetched() -> Path:
    try:
        folder = weights_folder()
    except ImportError as error:
        raise MissingExtraError(f"weights={NAME}", "attacks", "platformdirs") from error
    paths = [folder / f"{NAME}{suffix}" for suffix in (".pth", ".pt")]
    for path in paths:
        if path.is_file():
            return path
    raise WeightsFileError(
        f"no file {str(paths[0])!r}: put {ST_LPIPS_FILE.name} there under that name ({ST_LPIPS_FILE.source}), "
        "or give its path as weights=FILE"
    )


def shift_tolerant(path: Path, device: str) -> Distance:
    """Return the distance of a file, for images on a device.

    Raises:
        WeightsFileError: the file is broken, or is not ST-LPIPS on AlexNet.
    """
    state = {name: tensor.to(device) for name, tensor in read_tensors(path, ST_LPIPS_FILE).items()}

    def distance(attacked: Any, clean: Any) -> Any:
        if min(attacked.shape[2:]) < SMALLEST_SIDE:
            raise AttackInputError(f"ST-LPIPS needs images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels")
        layers = zip(_features(attacked, state), _features(clean, state), strict=True)
        return sum(
            ((one - other) ** 2 * state[f"lin{index}.model.1.weight"]).sum(dim=1).mean(dim=(1, 2))
            for index, (one, other) in enumerate(layers)
        )

    return distance


def _features(images: Any, state: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the features of the five layers, of length 1 at each place: (N, C, h, w)."""
    torch = require_torch("ST-LPIPS")

    def convolved(values: Any, name: str, padding: int) -> Any:
        return torch.nn.functional.conv2d(values, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    def blurred(values: Any, name: str) -> Any:
        reflected = torch.nn.functional.pad(values, (_REFLECTED,) * 4, mode="reflect")
        return torch.nn.functional.conv2d(reflected, state[name], stride=2, groups=values.shape[1])

    def pooled(values: Any, name: str) -> Any:
        return blurred(torch.nn.functional.max_pool2d(values, 3, stride=1), name)

    scaled = (2 * images - 1 - state["scaling_layer.shift"]) / state["scaling_layer.scale"]
    values = blurred(convolved(scaled, "net.slice1.0", 2), "net.slice1.1.filt").relu()
    yield _unit_length(values)
    values = convolved(pooled(values, "net.slice2.4.filt"), "net.slice2.5", 2).relu()
    yield _unit_length(values)
    values = convolved(pooled(values, "net.slice3.8.filt"), "net.slice3.9", 1).relu()
    yield _unit_length(values)
    for name in ("net.slice4.11", "net.slice5.13"):
        values = convolved(values, name, 1).relu()
        yield _unit_length(values)


def _unit_length(values: Any) -> Any:
    # The square root of a floor has a derivative where all channels are 0; the quotient is 0 there all the same.
    length = (values**2).sum(dim=1, keepdim=True).clamp(min=_TINY**2).sqrt()
    return values / (length + _TINY)
