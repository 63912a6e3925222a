"""Random crop as a purification: x'[i, j] = x[t + i, l + j], t uniform in 0 … H − s, l uniform in 0 … W − s."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import (
    Defence,
    DefenceFacts,
    Differentiability,
    Distribution,
    Parameter,
    RandomInput,
    RandomShape,
    switch,
)
from scoreguard_export.defences.crop_graph import build_crop_graph
from scoreguard_export.defences.straight_through import straight_through


class Crop(Defence):
    """Keep a square piece at a random place, drawn separately for each image; the metric scores the piece.

    With `restore` the piece is enlarged to the original size (bilinear, pixel centres at half integers), as the study's
    text says; its code, like the later benchmark, scores the piece itself. The default size is the study's 256 (of
    299); the benchmark uses 128.

    A chain, on the server or in the client, rejects a piece that is larger than the image. As a last line of defence
    the graph itself never fails: it keeps a side shorter than `size` whole, so it does not purify at all if both sides
    are shorter.
    """

    facts = DefenceFacts(
        name="crop",
        title="Random crop",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=(
            Parameter(
                name="size",
                description="Side of the square piece in pixels, at most the shorter side of the image.",
                default=256.0,
                minimum=1.0,
                maximum=16384.0,
                integer=True,
                at_most_side=True,
            ),
            switch("restore", "1 to enlarge the piece to the original size, 0 to leave it small.", default=False),
        ),
        random_inputs=(
            RandomInput(name="vertical", distribution=Distribution.UNIFORM, shape=RandomShape.ITEM),
            RandomInput(name="horizontal", distribution=Distribution.UNIFORM, shape=RandomShape.ITEM),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=False,
        minimum_size=1,
        parity_tolerance=1e-5,
    )

    def __init__(self, *, restore: float = 0.0) -> None:
        super().__init__(restore=restore)
        self.restore = bool(restore)

    def forward(self, image: Tensor, size: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
        """Crop images (N, 3, H, W).

        Args:
            image: In [0, 1].
            size: 0-d, whole, in pixels.
            vertical: (N,) in [0, 1), top of the piece, as a share of the possible positions.
            horizontal: (N,) in [0, 1), left edge of the piece, as a share of the possible positions.
        """
        height, width, side = image.shape[2], image.shape[3], max(1, int(size.item()))
        high, wide = min(side, height), min(side, width)
        tops: list[int] = self._begins(height - high, vertical).tolist()
        lefts: list[int] = self._begins(width - wide, horizontal).tolist()
        pieces: list[Tensor] = []
        # TorchScript's zip has no `strict`.
        for single, top, left in zip(image.unbind(), tops, lefts):  # noqa: B905
            pieces.append(single[:, top : top + high, left : left + wide])
        piece = torch.stack(pieces)
        if not self.restore:
            return piece
        whole = functional.interpolate(piece, size=[height, width], mode="bilinear", align_corners=False)
        return straight_through(whole, torch.clamp(whole, 0.0, 1.0))

    def _begins(self, last: int, draw: Tensor) -> Tensor:
        """Return the first row or column that is kept, (N,), 0 to `last`."""
        # A draw just below 1 may round up to the number of places.
        return torch.clamp(torch.floor(draw * float(last + 1)).to(torch.int64), max=last)

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand: torch.export cannot capture a size that depends on a tensor's value."""
        return build_crop_graph(restore=self.restore, opset=opset)
