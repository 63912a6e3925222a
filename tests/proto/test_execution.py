"""Running a step: once, tile by tile, or again and again, with every random number from its seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from scoreguard.chain.execution import graphs_of, run_step
from scoreguard.chain.randomness import is_random
from scoreguard.chain.resolve import ResolvedStep, resolve_step
from scoreguard.chain.sampling import linear_schedule
from scoreguard.v1.manifest_pb2 import (
    DISTRIBUTION_STANDARD_NORMAL,
    RANDOM_SHAPE_IMAGE,
    DefenceArtifact,
    DefenceFacts,
    DefenceVariant,
    Diffusion,
    GraphFiles,
    ParameterSpec,
    RandomInput,
    Tiling,
)
from scoreguard.v1.scoring_pb2 import DefenceStep

pytestmark = pytest.mark.base

Floats = npt.NDArray[np.float32]
SCHEDULE = linear_schedule()


class Arithmetic:
    """An engine whose graphs are sums that can be worked out by hand."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[int, ...]]] = []

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Floats]) -> Floats:
        """`add` adds every input; `denoise` gives grey; `mix` keeps half of the image."""
        self.calls.append((graphs.onnx, inputs["image"].shape))
        if graphs.onnx == "denoise":
            return np.full_like(inputs["image"], 0.5)
        if graphs.onnx == "mix":
            return np.asarray((inputs["image"] + inputs["sampled"]) / 2 + inputs["shift"], np.float32)
        return np.asarray(sum(inputs.values()), np.float32)

    def array(self, values: Floats) -> Floats:
        """Arrays are numpy's."""
        return values

    def join(self, parts: Sequence[Floats], axis: int) -> Floats:
        """Concatenation."""
        return np.concatenate(parts, axis=axis)


def resolved(facts: DefenceFacts, graphs: str, finish: str = "", **parameters: float) -> ResolvedStep:
    """A step of a defence with one variant."""
    variant = DefenceVariant(graphs=GraphFiles(onnx=graphs))
    if finish:
        variant.finish.CopyFrom(GraphFiles(onnx=finish))
    artifact = DefenceArtifact(facts=facts, variants=[variant])
    return resolve_step(DefenceStep(name=facts.name, parameters=parameters), artifact)


def numbers(*specs: tuple[str, float]) -> list[ParameterSpec]:
    """Parameters with their defaults."""
    return [ParameterSpec(name=name, default_value=value, minimum=-1000, maximum=1000) for name, value in specs]


NOISE = RandomInput(name="noise", distribution=DISTRIBUTION_STANDARD_NORMAL, shape=RANDOM_SHAPE_IMAGE)


@pytest.mark.parametrize("size", [(20, 30), (64, 90), (200, 7)])
def test_tiles_change_nothing_but_what_one_run_sees(size: tuple[int, int]) -> None:
    """Random inputs are cut as the image is."""
    image = np.random.default_rng(0).random((2, 3, *size), dtype=np.float32)
    whole = DefenceFacts(name="a", parameters=numbers(("b", 2)), random_inputs=[NOISE])
    cut = DefenceFacts(name="a", parameters=numbers(("b", 2)), random_inputs=[NOISE], tiling=Tiling(size=32, overlap=4))
    engine = Arithmetic()
    wanted = run_step(engine, image, resolved(whole, "add"), [1, 2], 0)
    tiled = run_step(engine, image, resolved(cut, "add"), [1, 2], 0)
    np.testing.assert_array_equal(tiled, wanted)
    assert max(max(shape[2:]) for _, shape in engine.calls[1:]) <= 33


@pytest.mark.parametrize(("steps", "asked"), [(0, 7), (1, 1), (3, 3), (50, 7)])
def test_a_diffusion_asks_its_denoiser_once_for_each_step_of_the_sampler(steps: int, asked: int) -> None:
    """The ancestral sampler takes t steps, the fast one as many as it is told, t at most; the end is what it says."""
    facts = DefenceFacts(
        name="d",
        parameters=numbers(("t", 7), ("steps", steps)),
        diffusion=Diffusion(alpha_bar=SCHEDULE.alpha_bar),
        tiling=Tiling(size=4096, overlap=8),
    )
    engine, step = Arithmetic(), resolved(facts, "denoise")
    image = np.random.default_rng(0).random((2, 3, 12, 9), dtype=np.float32)
    result = run_step(engine, image, step, [1, 2], 0)
    np.testing.assert_allclose(result, 0.5, atol=1e-6)
    assert [name for name, _ in engine.calls] == ["denoise"] * asked
    assert is_random(step.facts)


def test_the_finish_sees_the_image_and_what_was_sampled() -> None:
    """It takes the parameters that the sampler does not."""
    facts = DefenceFacts(
        name="d",
        parameters=numbers(("t", 3), ("steps", 1), ("shift", 0.25)),
        diffusion=Diffusion(alpha_bar=SCHEDULE.alpha_bar),
    )
    step = resolved(facts, "denoise", "mix")
    image = np.random.default_rng(0).random((1, 3, 5, 6), dtype=np.float32)
    result = run_step(Arithmetic(), image, step, [1], 0)
    np.testing.assert_allclose(result, (image + 0.5) / 2 + 0.25, atol=1e-6)
    assert [graphs.onnx for graphs in graphs_of(step)] == ["denoise", "mix"]
