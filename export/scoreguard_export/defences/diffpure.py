"""DiffPure: noise the image by a diffusion process, then sample the reverse (Nie et al., ICML 2022, section 3.1).

    y = x + σ_t·ε,   x' = the sampler's path from step t to step 0, with a denoiser call at every step

The samplers are DDPM's (Ho et al. 2020) and DDIM's (Song et al. 2021); their formulas, and the loop around the exported
denoiser, are in `scoreguard.chain.sampling`. The paper solves the reverse process as a differential equation; the later
benchmarks use DDPM's steps, as here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from scoreguard.chain.execution import LEVELS
from scoreguard.chain.sampling import Schedule, linear_schedule, purified_ddim, purified_ddpm, step_noise
from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter, Tiles
from scoreguard_export.defences.denoiser import Denoiser
from scoreguard_export.defences.diffpure_finish import EDGE_PARAMETERS, UNSHARP_PARAMETERS, EdgeFinish, UnsharpFinish
from scoreguard_export.defences.guided import GuidedDenoiser
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.graph_module import Role
from scoreguard_export.weights.source import WeightsSource

_STEPS = 1000
_SHIPPED_STEPS = 150
"""Up to this step the noise is within the shipped denoiser's training range, 70 levels of 255."""

_DENOISERS: Mapping[float, type[LearnedDefence]] = {0.0: Denoiser, 1.0: GuidedDenoiser}

_SAMPLING = (
    Parameter(
        name="model",
        description="Denoiser: the shipped one, or guided diffusion 256x256 where its weights are given.",
        default=0.0,
        minimum=0.0,
        maximum=1.0,
        integer=True,
        choices=tuple(_DENOISERS),
        choice_names=("shipped", "guided"),
    ),
    Parameter(
        name="t",
        description="Step of the linear schedule of 1000 that the image is noised to, up to 150 with the shipped "
        "denoiser: 5 is noise of 3.4 levels of 255, 30 of 13.7, 100 of 40.9.",
        default=5.0,
        minimum=1.0,
        maximum=float(_STEPS),
        integer=True,
    ),
    Parameter(
        name="steps",
        description="Denoiser calls of the fast sampler (DDIM, at most t); 0 = the ancestral sampler (DDPM), t calls.",
        default=0.0,
        minimum=0.0,
        maximum=float(_STEPS),
        integer=True,
    ),
)
_PAPER = "Nie, Guo, Huang, Xiao, Vahdat, Anandkumar: Diffusion models for adversarial purification. ICML"
_STUDY = "Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)"


def _facts(
    name: str, title: str, paper: str, year: int, parameters: tuple[Parameter, ...] = (), minimum_size: int = 1
) -> DefenceFacts:
    return DefenceFacts(
        name=name,
        title=title,
        paper=paper,
        year=year,
        parameters=(*_SAMPLING, *parameters),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=minimum_size,
        parity_tolerance=1e-4,
    )


class DiffPure(Defence):
    """Purify with a denoiser; the noise follows from the seed.

    One denoiser is exported, once for all purifiers of an archive; the loop is in the handler and in the client, which
    differentiates it as a whole. The default t is the public benchmark's.
    """

    facts = _facts("diffpure", "DiffPure", _PAPER, 2022)
    sources: ClassVar[Mapping[str, WeightsSource]] = {**Denoiser.sources, **GuidedDenoiser.sources}

    def __init__(self, *, model: float = 0.0, denoiser: LearnedDefence | None = None) -> None:
        super().__init__(model=model)
        self.denoiser = denoiser or _DENOISERS[model]()

    @classmethod
    def variants(cls, files: Mapping[str, Path]) -> list[dict[str, float]]:
        """Return the variants: the shipped denoiser, and the other one if its weights are given."""
        return [{"model": model} for model, kind in _DENOISERS.items() if kind.at_hand(files)]

    @classmethod
    def from_weights(cls, files: Mapping[str, Path], **structural: float) -> Self:
        """Build around the denoiser of the weights given, or the shipped one.

        Raises:
            ParameterError: there is no such model.
            WeightsError: a file is not given, missing, unreadable, or holds other names or shapes.
        """
        cls.check(structural)
        model = structural.get("model", 0.0)
        denoiser = _DENOISERS[model].from_weights(files)
        purifier = cls(model=model, denoiser=denoiser).eval()
        purifier.weights_digests = denoiser.weights_digests
        return purifier

    @classmethod
    def check_weights(cls, name: str, path: Path) -> str:
        """Check that a file is its denoiser's."""
        (denoiser,) = (kind for kind in _DENOISERS.values() if name in kind.sources)
        return denoiser.check_weights(name, path)

    @classmethod
    def tiles(cls, structural: Mapping[str, float]) -> Tiles | None:
        """The denoiser's."""
        return _denoiser(structural).tiles({})

    @classmethod
    def schedule(cls, structural: Mapping[str, float]) -> tuple[float, ...]:
        """The linear schedule of 1000 steps, as far as the denoiser was trained."""
        return linear_schedule(_STEPS).alpha_bar[: _STEPS if structural.get("model") else _SHIPPED_STEPS]

    @classmethod
    def graph_facts(cls, structural: Mapping[str, float]) -> DefenceFacts:
        """The denoiser's."""
        return _denoiser(structural).facts

    def graphs(self) -> Mapping[Role, Defence]:
        """The denoiser, and the finish of those that have one."""
        finish = self.finish()
        return {Role.GRAPH: self.denoiser} | ({Role.FINISH: finish} if finish is not None else {})

    def forward(self, image: Tensor, t: Tensor, steps: Tensor, *others: Tensor, seeds: Sequence[int] = ()) -> Tensor:
        """Purify images (N, 3, H, W) in one piece: what the server's loop does with the exported graphs.

        Args:
            image: In [0, 1].
            t: 0-d, whole, from 1.
            steps: 0-d, whole; 0 = DDPM.
            others: 0-d parameters of the finish, in order.
            seeds: One for each image; 0, 1, … if none are given.
        """
        sampled = self._sampled(image, int(t), int(steps), list(seeds) or list(range(len(image))))
        finish = self.finish()
        return finish(image, *others, sampled) if finish else sampled

    def _sampled(self, image: Tensor, level: int, count: int, seeds: list[int]) -> Tensor:
        process = Schedule(self.schedule(self.structural))

        def denoise(noisy: Tensor, sigma: float) -> Tensor:
            clean: Tensor = self.denoiser(noisy, torch.tensor(sigma * LEVELS, device=noisy.device))
            return clean

        def noise(index: int) -> Tensor:
            return torch.from_numpy(step_noise(tuple(image.shape), seeds, 0, index)).to(image.device)

        if count:
            return purified_ddim(image, process, level, min(count, level), denoise, noise)
        return purified_ddpm(image, process, level, denoise, noise)


class DiffPureEdge(DiffPure):
    """DiffPure, with the pixels of edges taken from the image itself.

    The study names the method and says no more than "Sobel": threshold and normalisation are this project's.
    """

    facts = _facts("diffpure-edge", "DiffPure with edges kept", _STUDY, 2024, EDGE_PARAMETERS)

    @classmethod
    def finish(cls) -> Defence | None:
        """The mask."""
        return EdgeFinish().eval()


class DiffPureUnsharp(DiffPure):
    """DiffPure, then an unsharp mask; the study does not publish its parameters; defaults are those of `unsharp`."""

    facts = _facts("diffpure-unsharp", "DiffPure and unsharp mask", _STUDY, 2024, UNSHARP_PARAMETERS, 2)

    @classmethod
    def finish(cls) -> Defence | None:
        """The mask."""
        return UnsharpFinish().eval()


def _denoiser(structural: Mapping[str, float]) -> type[LearnedDefence]:
    return _DENOISERS[structural.get("model", 0.0)]
