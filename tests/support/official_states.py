"""Names and shapes of the official checkpoints of metrics with a large network, and weights drawn for them.

They are written out from the authors' descriptions and torchvision's naming, not taken from our modules.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

Shapes = Iterator[tuple[str, tuple[int, ...]]]
PARTS = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
VGG = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of VGG-16 before each pooling."""


def norm(name: str, width: int) -> Shapes:
    """A batch norm."""
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (width,)
    yield f"{name}.num_batches_tracked", ()


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    """A linear layer."""
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def convolution(name: str, inputs: int, outputs: int, side: int = 3) -> Shapes:
    """A convolution with a bias."""
    yield f"{name}.weight", (outputs, inputs, side, side)
    yield f"{name}.bias", (outputs,)


def resnet(
    names: Mapping[str, str], blocks: Sequence[int], *, bottleneck: bool = True, groups: int = 1, group_width: int = 64
) -> Shapes:
    """The parts of a ResNet before its pooling.

    Args:
        names: The name of each of the `PARTS` in the checkpoint.
        blocks: Their number in each layer.
        bottleneck: Blocks of three convolutions with four times as many outputs, not of two.
        groups: Of the middle convolution.
        group_width: Channels of a group in the first layer.
    """
    yield f"{names['conv1']}.weight", (64, 3, 7, 7)
    yield from norm(names["bn1"], 64)
    inputs = 64
    for layer, count in enumerate(blocks):
        planes = 64 * 2**layer
        inner, outputs = planes * group_width // 64 * groups, planes * 4 if bottleneck else planes
        for block in range(count):
            name = f"{names[f'layer{layer + 1}']}.{block}"
            sides = (1, 3, 1) if bottleneck else (3, 3)
            widths = (inputs, inner, inner, outputs) if bottleneck else (inputs, outputs, outputs)
            for index, side in enumerate(sides):
                shared = widths[index] // (groups if bottleneck and index == 1 else 1)
                yield f"{name}.conv{index + 1}.weight", (widths[index + 1], shared, side, side)
                yield from norm(f"{name}.bn{index + 1}", widths[index + 1])
            if block == 0 and inputs != outputs:
                yield f"{name}.downsample.0.weight", (outputs, inputs, 1, 1)
                yield from norm(f"{name}.downsample.1", outputs)
            inputs = outputs


def _within(prefix: str) -> dict[str, str]:
    return {part: f"{prefix}{part}" for part in PARTS}


def _numbered(*places: str) -> dict[str, str]:
    return dict(zip(PARTS, places, strict=True))


def spaq() -> Shapes:
    """ResNet-50 with one output."""
    yield from resnet(_within("backbone."), (3, 4, 6, 3))
    yield from linear("backbone.fc", 2048, 1)


def meta_iqa() -> Shapes:
    """ResNet-18 with its 1000 outputs, and the regression."""
    yield from resnet(_within("resnet_layer."), (2, 2, 2, 2), bottleneck=False)
    yield from linear("resnet_layer.fc", 512, 1000)
    for index, inputs, outputs in ((1, 1000, 1024), (2, 1024, 512)):
        yield from linear(f"net.fc{index}", inputs, outputs)
        yield from norm(f"net.bn{index}", outputs)
        yield f"net.relu{index}.weight", (1,)
    yield from linear("net.fc3", 512, 1)


def linearity() -> Shapes:
    """ResNeXt-101 32×8d, two reductions, the outputs of both and of the two together."""
    names = _numbered(*(f"features.{place}" for place in (0, 1, 4, 5, 6, 7)))
    yield from resnet(names, (3, 4, 23, 3), groups=32, group_width=8)
    for name, inputs in (("dr6", 1024), ("dr7", 2048)):
        for place, (before, after) in enumerate(((inputs, 1024), (1024, 256), (256, 64))):
            yield from linear(f"{name}.{2 * place}", before, after)
            yield from norm(f"{name}.{2 * place + 1}", after)
    for name, inputs in (("regr6", 64), ("regr7", 64), ("regression", 128)):
        yield from linear(name, inputs, 1)


def wsp() -> Shapes:
    """ResNet-101 in two modules, the pooling's weights, five outputs."""
    names = _numbered(*(f"resnet101_freeze.{place}" for place in (0, 1, 4, 5, 6)), "resnet101.0")
    yield from resnet(names, (3, 4, 23, 3))
    yield "wsp.conv.weight", (2048, 2048, 1, 1)
    yield "wsp.conv.bias", (2048,)
    yield from norm("wsp.bn", 2048)
    yield from linear("fc", 2048, 5)


def resnet50() -> Shapes:
    """Torchvision's ResNet-50 with its classifier of ImageNet."""
    yield from resnet({part: part for part in PARTS}, (3, 4, 6, 3))
    yield from linear("fc", 2048, 1000)


def _recurrent(name: str, inputs: int, states: int) -> Shapes:
    """A gated recurrent unit of one layer and one direction: three gates."""
    for kind, width in (("ih", inputs), ("hh", states)):
        yield f"{name}.weight_{kind}_l0", (3 * states, width)
    for kind in ("ih", "hh"):
        yield f"{name}.bias_{kind}_l0", (3 * states,)


def vsfa() -> Shapes:
    """What follows the backbone."""
    yield from linear("ann.fc0", 4096, 128)
    yield from linear("ann.fc", 128, 128)
    yield from _recurrent("rnn", 128, 32)
    yield from linear("q", 32, 1)


def mdtvsfa() -> Shapes:
    """What follows the backbone, and the maps to the scales of four databases."""
    yield from linear("dimemsion_reduction", 4096, 128)
    yield from _recurrent("feature_aggregation", 128, 32)
    yield from linear("regression", 32, 1)
    for name in ("nlm.0", "nlm.2", "lm.K", "lm.C", "lm.L", "lm.N"):
        yield from linear(name, 1, 1)


HEADS = {"vsfa": vsfa, "mdtvsfa": mdtvsfa}
"""Names and shapes of the official files of metrics of videos, which hold what follows the backbone."""


def rank_iqa() -> Shapes:
    """Caffe's VGG-16 with one output."""
    inputs = 3
    for stage, (width, count) in enumerate(VGG, start=1):
        for place in range(1, count + 1):
            yield from convolution(f"conv{stage}_{place}", inputs, width)
            inputs = width
    for name, before, after in (("fc6_m", 25088, 4096), ("fc7_m", 4096, 4096), ("fc8_m", 4096, 1)):
        yield from linear(name, before, after)


def fpr() -> Shapes:
    """The branch without a reference."""
    blocks = (("sfl1", 3, 128), ("sfl21", 128, 256), ("sfl22", 256, 256), ("sfl23", 256, 256), ("sfl3", 256, 512))
    for name, inputs, outputs in blocks:
        yield from convolution(f"{name}.conv1.conv.0", inputs, outputs)
        yield from convolution(f"{name}.conv2.conv.0", outputs, outputs)
    yield from convolution("scl1.conv.conv.0", 512, 128)
    yield from convolution("scl2", 128, 64)
    yield from (*linear("srl1", 256, 32), *linear("srl2", 32, 1))
    yield from (*_recurrent("swl1", 256, 32), *linear("swl2", 32, 1))


def fpr_training() -> Shapes:
    """What its checkpoint holds beside that: the branch of the reference, the invertible network, a group norm."""
    for name, inputs, outputs in (("fl1", 3, 64), ("fl2", 64, 128), ("fl3", 128, 256)):
        yield from convolution(f"{name}.conv1.conv.0", inputs, outputs)
        yield from convolution(f"{name}.conv2.conv.0", outputs, outputs)
    for block in range(3):
        for part in "FGH":
            for place, (before, after) in enumerate(((256, 512), (512, 512), (512, 512), (512, 256)), start=1):
                yield from convolution(f"InvRescaleNet.operations.{block}.{part}.conv{place}", before, after, side=1)
    yield from convolution("cl1.conv.conv.0", 512, 128)
    yield from convolution("cl2", 128, 64)
    yield from (*linear("rl1", 256, 32), *linear("rl2", 32, 1))
    yield from (("gn.weight", (256,)), ("gn.bias", (256,)))
    yield from (*_recurrent("wl1", 256, 32), *linear("wl2", 32, 1))


def synthetic(prefix: str = "features.", *, counters: bool = True) -> Shapes:
    """The features of the S-CNN."""
    widths = (3, 48, 48, 64, 64, 64, 64, 128, 128, 128)
    for place, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        yield from convolution(f"{prefix}{3 * place}", inputs, outputs)
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{prefix}{3 * place + 1}.{part}", (outputs,)
        if counters:
            yield f"{prefix}{3 * place + 1}.num_batches_tracked", ()


def dbcnn() -> Shapes:
    """The VGG-16 of torchvision without its end, the S-CNN, one output."""
    inputs, place = 3, 0
    for width, count in VGG:
        for _ in range(count):
            yield from convolution(f"features1.{place}", inputs, width)
            inputs, place = width, place + 2
        place += 1
    yield from synthetic("features2.")
    yield from linear("fc", 512 * 128, 1)


def hyper_iqa() -> Shapes:
    """ResNet-50 with averages of its stages, and the layers that write five layers of 224 to 1 numbers."""
    yield from resnet(_within("res."), (3, 4, 6, 3))
    for stage, (channels, kept, averages) in enumerate(((256, 16, 64), (512, 32, 16), (1024, 64, 4)), start=1):
        yield f"res.lda{stage}_pool.0.weight", (kept, channels, 1, 1)
        yield from linear(f"res.lda{stage}_fc", kept * averages, 16)
    yield from linear("res.lda4_fc", 2048, 176)
    for place, inputs, outputs in ((0, 2048, 1024), (2, 1024, 512), (4, 512, 112)):
        yield from convolution(f"conv1.{place}", inputs, outputs, side=1)
    for layer, (written, outputs) in enumerate(((512, 112), (128, 56), (32, 28), (8, 14)), start=1):
        yield from convolution(f"fc{layer}w_conv", 112, written)
        yield from linear(f"fc{layer}b_fc", 112, outputs)
    yield from linear("fc5w_fc", 112, 14)
    yield from linear("fc5b_fc", 112, 1)


def paq2piq() -> Shapes:
    """ResNet-18 in a sequence, and the head."""
    names = _numbered(*(f"body.{place}" for place in (0, 1, 4, 5, 6, 7)))
    yield from resnet(names, (2, 2, 2, 2), bottleneck=False)
    yield from norm("head.2", 1024)
    yield from linear("head.4", 1024, 512)
    yield from norm("head.6", 512)
    yield from linear("head.8", 512, 1)


def tres() -> Shapes:
    """ResNet-50 with its classifier, four filters, an encoder of two layers for 3840 numbers, two outputs."""
    for stage, channels in enumerate((256, 512, 1024, 2048), start=1):
        yield f"L2pooling_l{stage}.filter", (channels, 1, 3, 3)
    yield from resnet(_within("model."), (3, 4, 6, 3))
    yield from linear("model.fc", 2048, 1000)
    for layer in (0, 1):
        name = f"transformer.encoder.layers.{layer}"
        yield f"{name}.self_attn.in_proj_weight", (11520, 3840)
        yield f"{name}.self_attn.in_proj_bias", (11520,)
        yield from linear(f"{name}.self_attn.out_proj", 3840, 3840)
        yield from (*linear(f"{name}.linear1", 3840, 64), *linear(f"{name}.linear2", 64, 3840))
        for part in ("norm1", "norm2"):
            yield from ((f"{name}.{part}.weight", (3840,)), (f"{name}.{part}.bias", (3840,)))
    yield from (("transformer.encoder.norm.weight", (3840,)), ("transformer.encoder.norm.bias", (3840,)))
    yield from (*linear("fc2", 3840, 2048), *linear("fc", 4096, 1))


OFFICIAL = {
    "spaq": spaq,
    "meta-iqa": meta_iqa,
    "linearity": linearity,
    "wsp": wsp,
    "rank-iqa": rank_iqa,
    "fpr": fpr,
    "dbcnn": dbcnn,
    "hyper-iqa": hyper_iqa,
    "paq2piq": paq2piq,
    "tres": tres,
}
"""Names and shapes by the name of the metric."""
_CENTRES = {
    "backbone.fc": 50.0,
    "fc": 0.2,
    "fc8_m": 22.0,
    "srl2": 40.0,
    "swl2": 0.5,
    "dbcnn fc": 50.0,
    "fc5b_fc": 50.0,
    "head.8": 50.0,
    "tres fc": 50.0,
}
"""Biases of last layers, in the middle of the metric's scale; with the metric's name where two have such a layer."""
_SPREADS = {
    "backbone.fc": 10.0,
    "fc": 0.02,
    "conv1_1": 0.02,
    "fc8_m": 0.5,
    "srl2": 3.0,
    "dbcnn fc": 1280.0,
    "fc1w_conv": 0.07,
    "fc2w_conv": 0.1,
    "fc3w_conv": 0.14,
    "fc4w_conv": 0.2,
    "fc5w_fc": 5.0,
    "fc5b_fc": 5.0,
    "head.8": 1.5,
    "tres fc": 5.0,
}
"""Factors of the weights of first and last layers, and of those that write weights: they let scores of photographs
differ by a tenth of the scale or less."""


def drawn(shapes: Mapping[str, tuple[int, ...]], seed: int = 0, metric: str = "") -> dict[str, Tensor]:
    """Weights that keep the strength of what passes: positive scales and variances, small biases and means."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _drawn(name, shape, generator, metric) for name, shape in shapes.items()}


def _of_layer(table: Mapping[str, float], metric: str, layer: str) -> float | None:
    return table.get(f"{metric} {layer}", table.get(layer))


def _drawn(name: str, shape: tuple[int, ...], generator: torch.Generator, metric: str) -> Tensor:
    layer, _, part = name.rpartition(".")
    if part == "num_batches_tracked":
        return torch.tensor(1000)
    if part == "filter":  # no weights: a window that adds up to 1
        hann = torch.tensor([1.0, 2.0, 1.0])
        return (torch.outer(hann, hann) / 16.0).repeat(shape[0], 1, 1, 1)
    noise = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return (
            noise
            * (_of_layer(_SPREADS, metric, layer) or 1.0)
            * math.sqrt((2.0 if len(shape) == 4 else 1.0) / math.prod(shape[1:]))
        )
    if part == "running_var":
        return 0.5 + 0.5 * noise.square()
    if part == "weight":
        return 1.0 + 0.1 * noise
    centre = _of_layer(_CENTRES, metric, layer) if part == "bias" else None
    return 0.2 * noise if centre is None else torch.full(shape, centre)


def measured(metric: nn.Module, images: Tensor) -> None:
    """Set the statistics of every batch norm to those of the images: each layer then passes what tells them apart."""
    norms = [module for module in metric.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for module in norms:
        module.momentum = 1.0
    with torch.no_grad():
        metric.train()(images)
    for module in norms:
        module.momentum = 0.1
    metric.eval()


def checkpoint(metric: str, state: Mapping[str, Tensor]) -> dict[str, object]:
    """What the official file of a metric holds, in the form in which its authors saved it."""
    if metric == "linearity":
        return {"model": dict(state), "k": [9.5, 1.0, 1.0], "b": [48.25, 0.0, 0.0]}
    if metric == "paq2piq":
        return {"model": dict(state), "opt": {"lr": 0.001}}
    return {"state_dict": dict(state)} if metric in ("spaq", "wsp", "fpr") else dict(state)
