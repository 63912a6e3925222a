"""The two graphs that a metric of videos has beside its own: features of a frame, and the score of a clip from them."""

from __future__ import annotations

from torch import Tensor, nn

from scoreguard_export.graph_module import GraphFacts, GraphModule, Reads


class FrameGraph(GraphModule):
    """RGB float32 frames (N, 3, H, W) in [0, 1] → features (N, numbers), each frame by itself."""

    output_name = "features"

    def __init__(self, inner: nn.Module, facts: GraphFacts) -> None:
        """Wrap the module that computes them; `facts` has the tolerance in units of the features."""
        super().__init__()
        self.inner, self.facts = inner, facts

    def output_axes(self) -> tuple[str | None, ...]:
        """Return the axes of one row per frame."""
        return ("batch", None)

    @classmethod
    def pattern_size(cls, least: int) -> tuple[int, int]:
        """Return an odd size, not square."""
        return 2 * least + 41, 2 * least + 17

    def forward(self, image: Tensor) -> Tensor:
        """Compute the features of each frame."""
        features: Tensor = self.inner(image)
        return features


class PoolGraph(GraphModule):
    """Features (1, T, numbers) of the T frames of a clip, in order → its score (1,)."""

    reads = Reads.FEATURES
    output_name = "score"

    def __init__(self, inner: nn.Module, facts: GraphFacts, numbers: int) -> None:
        """Wrap the module that computes it; `facts` has the tolerance in units of the score."""
        super().__init__()
        self.inner, self.facts = inner, facts
        self.numbers = numbers
        """Numbers in the features of a frame."""

    def output_axes(self) -> tuple[str | None, ...]:
        """Return the axis of one score."""
        return (None,)

    @classmethod
    def pattern_size(cls, least: int) -> tuple[int, int]:
        """Return a size that is not used: it reads no images."""
        return least, least

    def forward(self, features: Tensor) -> Tensor:
        """Score a clip."""
        score: Tensor = self.inner(features)
        return score
