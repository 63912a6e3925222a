"""Small metrics and defences, right and wrong, that the tests of the exporters use."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scoreguard_export.defences.base import (
    Defence,
    DefenceFacts,
    Differentiability,
    Distribution,
    Parameter,
    RandomInput,
    RandomShape,
)
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange


def metric_facts(name: str) -> MetricFacts:
    """Facts of a metric on 0 to 10 that takes 16 pixels and more."""
    return MetricFacts(
        name=name,
        title=name,
        paper="none",
        year=2024,
        score_range=ScoreRange(low=0.0, high=10.0),
        input_rule="native size",
        minimum_size=16,
        parity_tolerance=1e-4,
    )


class Contrast(Metric):
    """Two convolutions with fixed random weights, averaged over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = metric_facts("contrast")
        generator = torch.Generator().manual_seed(3)
        self.first, self.second = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 4, 3)
        for weight in self.parameters():
            weight.data = torch.rand(weight.shape, generator=generator) - 0.5

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        features: Tensor = self.second(torch.relu(self.first(image)))
        return features.mean(dim=[1, 2, 3])


class FrozenSize(Contrast):
    """Divides by the number of pixels of the image that it was captured with."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = metric_facts("frozen")

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch; the size leaves the graph by `int`, so a trace keeps the number."""
        features = torch.relu(self.first(image))
        exec("pass")  # the compiler refuses this, as it does much real code, so the module is traced
        return features.sum(dim=[1, 2, 3]) / float(int(features.shape[2]) * int(features.shape[3]))


class FrozenRows(Contrast):
    """Loops over the rows of the image in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = metric_facts("frozen rows")

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch, one row after another."""
        rows = [image[:, :, row].mean(dim=[1, 2]) for row in range(image.shape[2])]
        return torch.stack(rows).amax(dim=0)


class Uncapturable(Contrast):
    """Fails when it is run."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = metric_facts("uncapturable")

    def forward(self, image: Tensor) -> Tensor:
        """Raise, in code that the compiler refuses too."""
        exec("pass")
        raise ValueError("no images today,\nnone at all")


class Grainy(Defence):
    """Adds noise of a given strength, scaled by one more number for each image."""

    facts = DefenceFacts(
        name="grainy",
        title="Grainy",
        paper="none",
        year=2024,
        parameters=(Parameter(name="strength", description="Of the noise.", default=0.1, minimum=0.0, maximum=1.0),),
        random_inputs=(
            RandomInput(name="noise", distribution=Distribution.STANDARD_NORMAL, shape=RandomShape.IMAGE),
            RandomInput(name="level", distribution=Distribution.UNIFORM, shape=RandomShape.ITEM),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-6,
    )

    def forward(self, image: Tensor, strength: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Purify a batch."""
        return torch.clamp(image + strength * noise * level[:, None, None, None], 0.0, 1.0)


class Dented(Grainy):
    """Purifies as `Grainy` does, except that its gradient is cut off."""

    def forward(self, image: Tensor, strength: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Purify a batch."""
        return super().forward(image.detach() + 0.0 * image, strength, noise, level)


class Faint(Metric):
    """The mean of an image times some factors, and some terms added."""

    def __init__(self, terms: Sequence[float], factors: Sequence[float], dtype: torch.dtype) -> None:
        super().__init__()
        self.facts = metric_facts("faint")
        self.terms, self.factors, self.dtype = list(terms), list(factors), dtype

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch; the logarithm shows what of the terms is left on black images."""
        value = image.to(self.dtype).mean(dim=(1, 2, 3))
        for factor in self.factors:
            value = value * factor
        for term in self.terms:
            value = value + term
        return torch.log10(value).to(image.dtype)


class Gamma(Defence):
    """x^γ: its derivative at black is infinite for γ below 1."""

    facts = DefenceFacts(
        name="gamma",
        title="Gamma",
        paper="none",
        year=2024,
        parameters=(Parameter(name="gamma", description="Exponent.", default=2.0, minimum=0.2, maximum=5.0),),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-5,
    )

    def forward(self, image: Tensor, gamma: Tensor) -> Tensor:
        """Purify a batch."""
        return image**gamma


class Deviation(Metric):
    """The deviation of an image over its mean: 0 / 0 on a black one."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = metric_facts("deviation")

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        deviation = torch.sqrt(((image - mean) ** 2).mean(dim=(1, 2, 3)) + 1e-9)
        return deviation / mean.flatten()


class Guarded(Deviation):
    """The same with a guard for which every image has a score."""

    guard = 1e-9

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        deviation = torch.sqrt(((image - mean) ** 2).mean(dim=(1, 2, 3)) + 1e-9)
        return deviation / (mean.flatten() + self.guard)


class Unguarded(Guarded):
    """The same, its guard lost on the way."""

    guard = 0.0
