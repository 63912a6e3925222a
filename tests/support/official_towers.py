"""Names and shapes of the official checkpoints of metrics on Inception networks, VGG16 and CLIP.

They are written out from the papers and the naming of Cadene's InceptionResNet-v2, timm, torchvision and OpenAI's CLIP,
not taken from our modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from official_states import linear, norm

Shapes = Iterator[tuple[str, tuple[int, ...]]]
STEM = ("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "maxpool_5a", "mixed_5b")
PARTS = (*STEM, "repeat", "mixed_6a", "repeat_1", "mixed_7a", "repeat_2", "block8", "conv2d_7b")
"""Parts of an InceptionResNet-v2, in order."""


def unit(name: str, inputs: int, outputs: int, height: int, width: int) -> Shapes:
    """A convolution without bias, and its batch norm."""
    yield f"{name}.conv.weight", (outputs, inputs, height, width)
    yield from norm(f"{name}.bn", outputs)


def _branches(name: str, inputs: int, branches: Mapping[str, list[tuple[int, int, int]]]) -> Shapes:
    """Branches of units, each of width, kernel height and kernel width, that all begin at the same map."""
    for branch, units in branches.items():
        before = inputs
        for index, (outputs, height, width) in enumerate(units):
            # A branch of one unit is that unit; the last branch of mixed_5b has a pool in front.
            place = f"{name}.{branch}" if branch == "branch0" and len(units) == 1 else f"{name}.{branch}.{index}"
            yield from unit(place.replace("branch3.0", "branch3.1"), before, outputs, height, width)
            before = outputs


def _residual(name: str, width: int, joined: int, branches: Mapping[str, list[tuple[int, int, int]]]) -> Shapes:
    yield from _branches(name, width, branches)
    yield f"{name}.conv2d.weight", (width, joined, 1, 1)
    yield f"{name}.conv2d.bias", (width,)


def inception_resnet_v2(name: Callable[[str], str]) -> Shapes:
    """The parts before the pooling; `name` gives each its name in the checkpoint."""
    stem = {"conv2d_1a": (3, 32, 3), "conv2d_2a": (32, 32, 3), "conv2d_2b": (32, 64, 3)}
    for part, (inputs, outputs, side) in (stem | {"conv2d_3b": (64, 80, 1), "conv2d_4a": (80, 192, 3)}).items():
        yield from unit(name(part), inputs, outputs, side, side)
    first = {"branch0": [(96, 1, 1)], "branch1": [(48, 1, 1), (64, 5, 5)], "branch2": [(64, 1, 1), *[(96, 3, 3)] * 2]}
    yield from _branches(name("mixed_5b"), 192, first | {"branch3": [(64, 1, 1)]})
    small = {
        "branch0": [(32, 1, 1)],
        "branch1": [(32, 1, 1), (32, 3, 3)],
        "branch2": [(32, 1, 1), (48, 3, 3), (64, 3, 3)],
    }
    for block in range(10):
        yield from _residual(f"{name('repeat')}.{block}", 320, 128, small)
    yield from _branches(
        name("mixed_6a"), 320, {"branch0": [(384, 3, 3)], "branch1": [(256, 1, 1), (256, 3, 3), (384, 3, 3)]}
    )
    for block in range(20):
        middle = {"branch0": [(192, 1, 1)], "branch1": [(128, 1, 1), (160, 1, 7), (192, 7, 1)]}
        yield from _residual(f"{name('repeat_1')}.{block}", 1088, 384, middle)
    last = {"branch0": [(256, 1, 1), (384, 3, 3)], "branch1": [(256, 1, 1), (288, 3, 3)]}
    yield from _branches(name("mixed_7a"), 1088, last | {"branch2": [(256, 1, 1), (288, 3, 3), (320, 3, 3)]})
    for place in (*(f"{name('repeat_2')}.{index}" for index in range(9)), name("block8")):
        large = {"branch0": [(192, 1, 1)], "branch1": [(192, 1, 1), (224, 1, 3), (256, 3, 1)]}
        yield from _residual(place, 2080, 448, large)
    yield from unit(name("conv2d_7b"), 2080, 1536, 1, 1)


def koncept512() -> Shapes:
    """The parts by their number, and four linear layers with three batch norms between."""
    yield from inception_resnet_v2(lambda part: f"base.{PARTS.index(part)}")
    for place, inputs, outputs in ((0, 1536, 2048), (4, 2048, 1024), (8, 1024, 256), (12, 256, 1)):
        yield from linear(f"fc.{place}", inputs, outputs)
        if place < 12:
            yield from norm(f"fc.{place + 2}", outputs)


def nima_inception() -> Shapes:
    """The parts by their names, and ten outputs."""
    yield from inception_resnet_v2(lambda part: f"base_model.{part}")
    yield from linear("classifier.2", 1536, 10)


def nima_vgg16() -> Shapes:
    """Thirteen convolutions by their place among the activations and pools, and ten outputs."""
    inputs, place = 3, 0
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            yield f"base_model.features_{place}.weight", (width, inputs, 3, 3)
            yield f"base_model.features_{place}.bias", (width,)
            inputs, place = width, place + 2
        place += 1
    yield from linear("classifier.2", 512, 10)


def _windowed(name: str, width: int) -> Shapes:
    """Two stages of two blocks: tables of 7×7 offsets for 4 heads, and masks of 49 windows in every second block."""
    yield f"{name}.downsample.weight", (width, width, 3, 3)
    yield f"{name}.downsample.bias", (width,)
    for stage in range(2):
        for index in range(2):
            block = f"{name}.layers.{stage}.blocks.{index}"
            for part in ("norm1", "norm2"):
                yield f"{block}.{part}.weight", (width,)
                yield f"{block}.{part}.bias", (width,)
            yield f"{block}.attn.relative_position_bias_table", (49, 4)
            yield f"{block}.attn.relative_position_index", (16, 16)
            yield from linear(f"{block}.attn.qkv", width, 3 * width)
            yield from linear(f"{block}.attn.proj", width, width)
            yield from linear(f"{block}.mlp.fc1", width, 768)
            yield from linear(f"{block}.mlp.fc2", 768, width)
            if index == 1:
                yield f"{block}.attn_mask", (49, 16, 16)
        yield f"{name}.layers.{stage}.conv.weight", (width, width, 3, 3)
        yield f"{name}.layers.{stage}.conv.bias", (width,)


def maniqa() -> Shapes:
    """A whole ViT-B/8 with its 1000 outputs, two stages of attention over channels and in windows, two heads."""
    yield "vit.cls_token", (1, 1, 768)
    yield "vit.pos_embed", (1, 28 * 28 + 1, 768)
    yield "vit.patch_embed.proj.weight", (768, 3, 8, 8)
    yield "vit.patch_embed.proj.bias", (768,)
    for index in range(12):
        for part in ("norm1", "norm2"):
            yield f"vit.blocks.{index}.{part}.weight", (768,)
            yield f"vit.blocks.{index}.{part}.bias", (768,)
        for part, inputs, outputs in (
            ("attn.qkv", 768, 2304),
            ("attn.proj", 768, 768),
            ("mlp.fc1", 768, 3072),
            ("mlp.fc2", 3072, 768),
        ):
            yield from linear(f"vit.blocks.{index}.{part}", inputs, outputs)
    yield "vit.norm.weight", (768,)
    yield "vit.norm.bias", (768,)
    yield from linear("vit.head", 768, 1000)
    for stage, inputs, outputs in ((1, 3072, 768), (2, 768, 384)):
        for block in range(2):
            for part in ("c_q", "c_k", "c_v"):
                yield from linear(f"tablock{stage}.{block}.{part}", 784, 784)
        yield f"conv{stage}.weight", (outputs, inputs, 1, 1)
        yield f"conv{stage}.bias", (outputs,)
        yield from _windowed(f"swintransformer{stage}", outputs)
    for head in ("fc_score", "fc_weight"):
        yield from linear(f"{head}.0", 384, 384)
        yield from linear(f"{head}.3", 384, 1)


def _transformer(name: str, width: int, layers: int) -> Shapes:
    for index in range(layers):
        block = f"{name}.resblocks.{index}"
        for part in ("ln_1", "ln_2"):
            yield f"{block}.{part}.weight", (width,)
            yield f"{block}.{part}.bias", (width,)
        yield f"{block}.attn.in_proj_weight", (3 * width, width)
        yield f"{block}.attn.in_proj_bias", (3 * width,)
        yield from linear(f"{block}.attn.out_proj", width, width)
        yield from linear(f"{block}.mlp.c_fc", width, 4 * width)
        yield from linear(f"{block}.mlp.c_proj", 4 * width, width)


def _text_tower(width: int, embedding: int) -> Shapes:
    yield "token_embedding.weight", (49408, width)
    yield "positional_embedding", (77, width)
    yield from _transformer("transformer", width, 12)
    yield "ln_final.weight", (width,)
    yield "ln_final.bias", (width,)
    yield "text_projection", (width, embedding)
    yield "logit_scale", ()


def clip_rn50() -> Shapes:
    """Both towers of OpenAI's RN50: three convolutions in the stem, blocks of 3, 4, 6 and 3, attention pooling."""
    for index, (inputs, outputs) in enumerate(((3, 32), (32, 32), (32, 64))):
        yield f"visual.conv{index + 1}.weight", (outputs, inputs, 3, 3)
        yield from norm(f"visual.bn{index + 1}", outputs)
    inputs = 64
    for layer, count in enumerate((3, 4, 6, 3)):
        planes = 64 * 2**layer
        for block in range(count):
            name = f"visual.layer{layer + 1}.{block}"
            for index, (before, after, side) in enumerate(
                ((inputs, planes, 1), (planes, planes, 3), (planes, 4 * planes, 1))
            ):
                yield f"{name}.conv{index + 1}.weight", (after, before, side, side)
                yield from norm(f"{name}.bn{index + 1}", after)
            if block == 0:
                yield f"{name}.downsample.0.weight", (4 * planes, inputs, 1, 1)
                yield from norm(f"{name}.downsample.1", 4 * planes)
            inputs = 4 * planes
    yield "visual.attnpool.positional_embedding", (7 * 7 + 1, 2048)
    for part, outputs in (("k_proj", 2048), ("q_proj", 2048), ("v_proj", 2048), ("c_proj", 1024)):
        yield from linear(f"visual.attnpool.{part}", 2048, outputs)
    yield from _text_tower(512, 1024)


def clip_vit_l_14() -> Shapes:
    """Both towers of OpenAI's ViT-L/14: patches of 14 pixels, 24 blocks of width 1024."""
    yield "visual.conv1.weight", (1024, 3, 14, 14)
    yield "visual.class_embedding", (1024,)
    yield "visual.positional_embedding", (16 * 16 + 1, 1024)
    for part in ("ln_pre", "ln_post"):
        yield f"visual.{part}.weight", (1024,)
        yield f"visual.{part}.bias", (1024,)
    yield from _transformer("visual.transformer", 1024, 24)
    yield "visual.proj", (1024, 768)
    yield from _text_tower(768, 768)


def laion_head() -> Shapes:
    """Five linear layers, with dropout between the first four."""
    for place, inputs, outputs in ((0, 768, 1024), (2, 1024, 128), (4, 128, 64), (6, 64, 16), (7, 16, 1)):
        yield from linear(f"layers.{place}", inputs, outputs)


OFFICIAL_TOWERS = {
    "koncept512": koncept512,
    "nima-inceptionresnetv2": nima_inception,
    "nima-vgg16": nima_vgg16,
    "maniqa": maniqa,
    "clip-iqa": clip_rn50,
    "clip-vit-l-14": clip_vit_l_14,
    "laion-aesthetic": laion_head,
}
"""Names and shapes by the name of the weights file."""
