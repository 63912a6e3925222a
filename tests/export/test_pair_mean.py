"""The defences that average over pairs of pixels, tile by tile: what tiles and batches must not change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from photographs import crop, to_batch

from scoreguard_export.defences.bilateral import Bilateral
from scoreguard_export.defences.nlm import NonLocalMeans
from scoreguard_export.exporters.engines import load_onnx
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import input_names

Kind = type[Bilateral] | type[NonLocalMeans]
SCALARS: dict[Kind, tuple[torch.Tensor, torch.Tensor]] = {
    Bilateral: (torch.tensor(0.2), torch.tensor(1.5)),
    NonLocalMeans: (torch.tensor(0.05), torch.tensor(4.0)),
}
VARIANTS = [(kind, variant) for kind in SCALARS for variant in kind.facts.variants()]
each_kind = pytest.mark.parametrize("kind", SCALARS, ids=lambda kind: kind.facts.name)


@each_kind
@pytest.mark.parametrize(("height", "width"), [(161, 14), (170, 325)])
def test_tiles_do_not_show(kind: Kind, height: int, width: int) -> None:
    """An image of several tiles is filtered as it is in one."""
    batch = to_batch(crop(1, 9, 4, height, width), crop(2, 1, 8, height, width))
    defence = kind()
    in_tiles = defence(batch, *SCALARS[kind])
    defence.tile = 1000
    assert torch.allclose(in_tiles, defence(batch, *SCALARS[kind]), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(14, 15), (161, 14), (170, 325)])
@pytest.mark.parametrize(("kind", "variant"), VARIANTS)
def test_the_onnx_graph_joins_its_tiles(
    kind: Kind, variant: dict[str, float], height: int, width: int, tmp_path: Path
) -> None:
    """Every image of a batch, and every tile of it, ends where it belongs."""
    batch = to_batch(crop(1, 9, 4, height, width), crop(2, 1, 8, height, width), crop(3, 0, 0, height, width))
    defence, inputs = kind(**variant), (batch, *SCALARS[kind])
    export_onnx(defence, tmp_path / "graph.onnx")
    output = load_onnx(tmp_path / "graph.onnx", input_names(defence))(inputs)
    assert torch.allclose(output, defence(*inputs), rtol=0.0, atol=1e-5)


@each_kind
def test_small_images_together_are_as_alone(kind: Kind) -> None:
    """However many are worked on at once."""
    batch = torch.rand(70, 3, 20, 22, generator=torch.Generator().manual_seed(3))
    together = kind()(batch, *SCALARS[kind])
    assert torch.equal(together[69:], kind()(batch[69:], *SCALARS[kind]))
