"""Total-variation denoising as a purification: the picture u that minimises ½‖u − x‖² + w·TV(u).

Model: Rudin, Osher and Fatemi, "Nonlinear total variation based noise removal algorithms", Physica D 60, 1992.
Algorithm: Chambolle, "An algorithm for total variation minimization and applications", J. Math. Imaging Vision 20,
2004, equation 9. With p = 0 at the start and τ = 1/4, each step is

    u = x − div p,   p ← (p − τ·∇u) / (1 + τ·|∇u|/w),

and the result is the u of the last p (the paper's p is this one over −w).
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.bounds import within_range
from scoreguard_export.defences.tv_graph import build_tv_graph


def _explained(image: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Give u of a dual field; −div is the adjoint of the forward difference."""
    above = functional.pad(down, [0, 0, 1, -1])
    before = functional.pad(right, [1, -1, 0, 0])
    return image - (down + right) + (above + before)


class TotalVariation(Defence):
    """Take small oscillations away and keep edges, each channel by itself.

    Forward differences, zero over the last row and column, as in scikit-image's `denoise_tv_chambolle`, which counts
    the look at the input as one iteration more, and by default stops where the energy settles. Here the number of
    steps is what it says, for every picture: a stop that depends on the picture would have no gradient. It is an
    input, and the loop stays a loop in both graphs: their size does not depend on it.
    """

    facts = DefenceFacts(
        name="tv",
        title="Total-variation denoising",
        paper="Chambolle: An algorithm for total variation minimization and applications",
        year=2004,
        parameters=(
            Parameter(
                name="weight",
                description="Weight of the total variation, in pixel units of [0, 1]; more removes more.",
                default=0.1,
                minimum=0.001,
                maximum=2.0,
            ),
            Parameter(
                name="iterations",
                description="Steps of Chambolle's algorithm, a whole number; time is proportional to it.",
                default=50.0,
                minimum=1.0,
                maximum=200.0,
                integer=True,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=2,
        parity_tolerance=1e-4,
    )

    def forward(self, image: Tensor, weight: Tensor, iterations: Tensor) -> Tensor:
        """Denoise pictures (N, 3, H, W).

        Args:
            image: In [0, 1].
            weight: 0-d, 0.001 to 2.
            iterations: 0-d, 1 to 200; rounded to a whole number.
        """
        strength = 0.25 / weight.to(image.dtype)
        down, right = torch.zeros_like(image), torch.zeros_like(image)
        for _ in range(int(torch.round(iterations).item())):
            explained = _explained(image, down, right)
            steep = functional.pad(explained[:, :, 1:] - explained[:, :, :-1], [0, 0, 0, 1])
            slant = functional.pad(explained[:, :, :, 1:] - explained[:, :, :, :-1], [0, 1, 0, 0])
            # The root has no derivative at 0, where the picture is flat; 10⁻¹⁰ is far below any difference that counts.
            slope = torch.sqrt(torch.clamp_min(torch.square(steep) + torch.square(slant), 1e-20))
            damping = 1.0 + strength * slope
            down, right = (down - 0.25 * steep) / damping, (right - 0.25 * slant) / damping
        return within_range(_explained(image, down, right))

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand: a capture would unroll the loop, and fix its length."""
        return build_tv_graph(opset)
