"""The denoising network of MPRNet (Zamir et al., CVPR 2021), with the names of the authors' checkpoint.

Three stages read the image in quarters, in halves and whole. The first two are encoders and decoders over three
sizes; the third stays at full size. Each stage passes its features on, weighted by attention that its own result
guides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Levels = tuple[Tensor, Tensor, Tensor]
"""Features at full, half and quarter size."""
_ATTENTION = 4
"""Factor by which the attention reduces the channels."""


def _conv(inputs: int, outputs: int, side: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False)


class _Attention(nn.Module):
    """Weights each channel by its mean over the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // _ATTENTION
        self.conv_du = nn.Sequential(_conv(width, narrow, 1), nn.ReLU(), _conv(narrow, width, 1), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        weights: Tensor = self.conv_du(features.mean(dim=[2, 3], keepdim=True))
        return features * weights


class _Unit(nn.Module):
    """Two convolutions and attention, with a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.CA = _Attention(width)
        # The authors share one slope among all units; their checkpoint repeats it for each unit.
        self.body = nn.Sequential(_conv(width, width), nn.PReLU(), _conv(width, width))

    def forward(self, features: Tensor) -> Tensor:
        weighed: Tensor = self.CA(self.body(features))
        return weighed + features


def _units(width: int, count: int = 2) -> nn.Sequential:
    return nn.Sequential(*(_Unit(width) for _ in range(count)))


class _Halved(nn.Module):
    """The mean of each 2 × 2 square: equal to bilinear halving without antialiasing."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.AvgPool2d(2), _conv(inputs, outputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.down(features)
        return result


class _Doubled(nn.Module):
    """Bilinear enlargement."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        enlargement = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
        self.up = nn.Sequential(enlargement, _conv(inputs, outputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.up(features)
        return result


class _Pyramid(nn.Module):
    """The layers of an encoder."""

    def __init__(self, width: int, step: int) -> None:
        super().__init__()
        self.encoder_level1 = _units(width)
        self.encoder_level2 = _units(width + step)
        self.encoder_level3 = _units(width + 2 * step)
        self.down12 = _Halved(width, width + step)
        self.down23 = _Halved(width + step, width + 2 * step)


class _Encoder(_Pyramid):
    """From full size down to a quarter."""

    def forward(self, features: Tensor) -> Levels:
        first = self.encoder_level1(features)
        second = self.encoder_level2(self.down12(first))
        return first, second, self.encoder_level3(self.down23(second))


class _FusedEncoder(_Pyramid):
    """The same, with the features of the previous stage at each size."""

    def __init__(self, width: int, step: int) -> None:
        super().__init__(width, step)
        widths = (width, width + step, width + 2 * step)
        self.csff_enc1, self.csff_enc2, self.csff_enc3 = (_conv(each, each, 1) for each in widths)
        self.csff_dec1, self.csff_dec2, self.csff_dec3 = (_conv(each, each, 1) for each in widths)

    def forward(self, features: Tensor, encoded: Levels, decoded: Levels) -> Levels:
        first = self.encoder_level1(features) + self.csff_enc1(encoded[0]) + self.csff_dec1(decoded[0])
        second = self.encoder_level2(self.down12(first)) + self.csff_enc2(encoded[1]) + self.csff_dec2(decoded[1])
        third = self.encoder_level3(self.down23(second)) + self.csff_enc3(encoded[2]) + self.csff_dec3(decoded[2])
        return first, second, third


class _Decoder(nn.Module):
    """From a quarter back up to full size."""

    def __init__(self, width: int, step: int) -> None:
        super().__init__()
        self.decoder_level1 = _units(width)
        self.decoder_level2 = _units(width + step)
        self.decoder_level3 = _units(width + 2 * step)
        self.skip_attn1 = _Unit(width)
        self.skip_attn2 = _Unit(width + step)
        self.up21 = _Doubled(width + step, width)
        self.up32 = _Doubled(width + 2 * step, width + step)

    def forward(self, encoded: Levels) -> Levels:
        third = self.decoder_level3(encoded[2])
        second = self.decoder_level2(self.up32(third) + self.skip_attn2(encoded[1]))
        return self.decoder_level1(self.up21(second) + self.skip_attn1(encoded[0])), second, third


class _FullSizeBlock(nn.Module):
    """Units and a convolution, with a skip connection."""

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(_Unit(width) for _ in range(units)), _conv(width, width))

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.body(features)
        return result + features


class _FullSize(nn.Module):
    """The third stage: stays at full resolution; the second stage's features are added at each block."""

    def __init__(self, width: int, step: int, extra: int, units: int) -> None:
        super().__init__()
        self.orb1, self.orb2, self.orb3 = (_FullSizeBlock(width + extra, units) for _ in range(3))
        self.conv_enc1, self.conv_enc2, self.conv_enc3 = (_conv(width, width + extra, 1) for _ in range(3))
        self.conv_dec1, self.conv_dec2, self.conv_dec3 = (_conv(width, width + extra, 1) for _ in range(3))
        self.up_enc1, self.up_dec1 = (_Doubled(width + step, width) for _ in range(2))
        self.up_enc2, self.up_dec2 = (
            nn.Sequential(_Doubled(width + 2 * step, width + step), _Doubled(width + step, width)) for _ in range(2)
        )

    def forward(self, features: Tensor, encoded: Levels, decoded: Levels) -> Tensor:
        features = self.orb1(features) + self.conv_enc1(encoded[0]) + self.conv_dec1(decoded[0])
        features = self.orb2(features)
        features = features + self.conv_enc2(self.up_enc1(encoded[1])) + self.conv_dec2(self.up_dec1(decoded[1]))
        features = self.orb3(features)
        result: Tensor = self.conv_enc3(self.up_enc2(encoded[2])) + self.conv_dec3(self.up_dec2(decoded[2]))
        return features + result


class _SupervisedAttention(nn.Module):
    """Weights features by the image that they already give."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = _conv(width, width, 1), _conv(width, 3, 1), _conv(3, width, 1)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        restored = self.conv2(features) + image
        weighed: Tensor = self.conv1(features) * torch.sigmoid(self.conv3(restored))
        return weighed + features


def _shallow(width: int) -> nn.Sequential:
    return nn.Sequential(_conv(3, width), _Unit(width))


def _parts(whole: Tensor, axis: int) -> Tensor:
    """Cut in two along an axis; the second half follows the first in the batch."""
    half = whole.shape[axis] // 2
    return torch.cat([whole.narrow(axis, 0, half), whole.narrow(axis, half, half)])


def _joined(parts: Tensor, axis: int) -> Tensor:
    """Undo `_parts`."""
    count = parts.shape[0] // 2
    return torch.cat([parts[:count], parts[count:]], dim=axis)


def _all_joined(parts: Levels, axis: int) -> Levels:
    return _joined(parts[0], axis), _joined(parts[1], axis), _joined(parts[2], axis)


class MprNetwork(nn.Module):
    """Three stages; the widths are those of the published denoising model."""

    def __init__(self, width: int = 80, step: int = 48, extra: int = 32, units: int = 8) -> None:
        """Build the stages.

        Args:
            width: Channels at full size.
            step: Channels added at each smaller size.
            extra: Channels that the third stage adds.
            units: Units in each of the third stage's blocks.
        """
        super().__init__()
        self.shallow_feat1, self.shallow_feat2, self.shallow_feat3 = (_shallow(width) for _ in range(3))
        self.stage1_encoder = _Encoder(width, step)
        self.stage2_encoder = _FusedEncoder(width, step)
        self.stage1_decoder, self.stage2_decoder = (_Decoder(width, step) for _ in range(2))
        self.stage3_orsnet = _FullSize(width, step, extra, units)
        self.sam12, self.sam23 = (_SupervisedAttention(width) for _ in range(2))
        self.concat12, self.concat23 = _conv(2 * width, width), _conv(2 * width, width + extra)
        self.tail = _conv(width + extra, 3)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → the same, not clamped; H and W are multiples of 8.

        Quarters and halves go through as one batch: they share only the weights.
        """
        halves = _parts(image, 2)
        encoded = _all_joined(self.stage1_encoder(self.shallow_feat1(_parts(halves, 3))), 3)
        decoded = self.stage1_decoder(encoded)
        handed = self.sam12(decoded[0], halves)

        features = self.concat12(torch.cat([self.shallow_feat2(halves), handed], dim=1))
        encoded = _all_joined(self.stage2_encoder(features, encoded, decoded), 2)
        decoded = self.stage2_decoder(encoded)
        handed = self.sam23(decoded[0], image)

        features = self.concat23(torch.cat([self.shallow_feat3(image), handed], dim=1))
        noise: Tensor = self.tail(self.stage3_orsnet(features, encoded, decoded))
        return noise + image
