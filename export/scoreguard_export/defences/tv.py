"""Total-variation denoising as a purification: the image u that minimises ½‖u − x‖² + w·TV(u).

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

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.bounds import within_range
from scoreguard_export.defences.tv_graph import build_tv_graph


def _explained(start: Tensor, down: Tensor, right: Tensor, share: float) -> Tensor:
    """Return start − share·div of a field without its zeros; −div is the adjoint of the forward difference.

    Adding in place to parts of one image avoids copies of the shifted fields; no derivative needs the old values.
    """
    explained = start.clone()
    explained[:, :, :-1].sub_(down, alpha=share)
    explained[:, :, 1:].add_(down, alpha=share)
    explained[:, :, :, :-1].sub_(right, alpha=share)
    explained[:, :, :, 1:].add_(right, alpha=share)
    return explained


class TotalVariation(Defence):
    """Remove small oscillations and keep edges, in each channel separately.

    Forward differences, zero over the last row and column, as in scikit-image's `denoise_tv_chambolle`, which counts
    the evaluation of the input as an extra iteration and by default stops when the energy settles. Here the number of
    steps is fixed for every image: a stop that depends on the image would have no gradient. The number is an input, and
    the loop stays a loop in both graphs, so their size does not depend on it.
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
        """Denoise images (N, 3, H, W).

        Args:
            image: In [0, 1].
            weight: 0-d, 0.001 to 2.
            iterations: 0-d, 1 to 200; rounded to a whole number.
        """
        step, strength = 0.25, weight.to(image.dtype)
        # With the image scaled by τ/w, a step divides by 1 + |∇u|, and only div p keeps the factor τ.
        scaled = image * (step / strength)
        # The last row of `down` and the last column of `right` are zero and omitted.
        down, right = torch.zeros_like(image[:, :, 1:]), torch.zeros_like(image[:, :, :, 1:])
        for _ in range(int(torch.round(iterations).item())):
            explained = _explained(scaled, down, right, step)
            steep = explained[:, :, 1:] - explained[:, :, :-1]
            slant = explained[:, :, :, 1:] - explained[:, :, :, :-1]
            # The root has no derivative at 0, in flat areas; 10⁻¹⁰ is far below any difference that matters.
            square = torch.full_like(image, 1e-20)
            square[:, :, :-1].addcmul_(steep, steep)
            square[:, :, :, :-1].addcmul_(slant, slant)
            share = torch.sqrt(square).add(1.0).reciprocal_()
            down.sub_(steep).mul_(share[:, :, :-1])
            right.sub_(slant).mul_(share[:, :, :, :-1])
        return within_range(_explained(image, strength * down, strength * right, 1.0))

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand: a captured graph would unroll the loop and fix its length."""
        return build_tv_graph(opset)
