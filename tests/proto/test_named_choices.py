"""Enumerations are names in requests, in chains and in answers; the numbers behind them stay inside an archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoreguard.chain.parameters import Parameter
from scoreguard.chain.resolve import resolve_step
from scoreguard.v1.errors import ParameterError
from scoreguard.v1.manifest_pb2 import DefenceArtifact, DefenceFacts, DefenceVariant, GraphFiles
from scoreguard.v1.scoring_pb2 import DefenceStep
from scoreguard.v1.spec import parse_chain
from scoreguard_export.defences.catalogue import CATALOGUE

MODE = Parameter(
    name="mode",
    description="",
    default=1,
    minimum=0,
    maximum=3,
    choices=(0, 1, 3),
    choice_names=("near", "line", "cube"),
)


def artifact(*numbers: float) -> DefenceArtifact:
    """A defence with a variant for each number of `mode`."""
    variants = [DefenceVariant(structural={"mode": n}, graphs=GraphFiles(onnx=f"{n:g}.onnx")) for n in numbers]
    return DefenceArtifact(facts=DefenceFacts(name="up", parameters=[MODE.to_message()]), variants=variants)


def resolved(text: str, *numbers: float) -> tuple[str, str]:
    """The graph that a chain's one step takes, and the step with every parameter."""
    (step,) = parse_chain(text)
    found = resolve_step(step.to_message(), artifact(*numbers))
    return found.variant.graphs.onnx, str(found.step)


@pytest.mark.parametrize(
    ("text", "graph", "step"),
    [
        ("up:mode=cube", "3.onnx", "up:mode=cube"),
        ("up", "1.onnx", "up:mode=line"),
        ("up:mode=near", "0.onnx", "up:mode=near"),
    ],
)
def test_a_name_chooses_the_graph_of_its_number(text: str, graph: str, step: str) -> None:
    """The default too is a name in what the answer says."""
    assert resolved(text, 0, 1, 3) == (graph, step)


@pytest.mark.parametrize("value", ["3", "cubic", "0.5"])
def test_another_name_and_a_number_are_refused_with_the_names(value: str) -> None:
    """Nobody has to know the numbers."""
    with pytest.raises(ParameterError, match=f"up:mode={value}.* is out of range: one of near, line, cube"):
        resolved(f"up:mode={value}", 0, 1, 3)


def test_a_choice_that_was_not_exported_is_named(tmp_path: Path) -> None:
    """The message has names on both sides."""
    with pytest.raises(
        ParameterError, match="up:mode=cube is not in this archive, which holds up:mode=near, up:mode=line"
    ):
        resolved("up:mode=cube", 0, 1)


def test_a_name_for_a_number_is_refused() -> None:
    """A parameter that is a number takes no word."""
    facts = DefenceFacts(
        name="q", parameters=[Parameter(name="n", description="", default=1, minimum=0, maximum=9).to_message()]
    )
    with pytest.raises(ParameterError, match="q:n=many is out of range: 0 to 9"):
        resolve_step(DefenceStep(name="q", choices={"n": "many"}), DefenceArtifact(facts=facts))


def test_a_parameter_in_both_maps_is_refused() -> None:
    """Neither is preferred in silence."""
    with pytest.raises(ParameterError, match="mode is given twice"):
        resolve_step(DefenceStep(name="up", parameters={"mode": 1}, choices={"mode": "line"}), artifact(1))


def test_every_enumeration_of_the_catalogue_has_names() -> None:
    """Numbers stand for themselves only where they are quantities, or a switch that is on or off."""
    quantities = {"kernel", "patch", "levels", "denoise"}
    for kind in CATALOGUE.values():
        for parameter in kind.facts.structural:
            is_switch = parameter.choices == (0, 1) and not parameter.choice_names
            assert is_switch or parameter.choice_names or parameter.name in quantities, (
                kind.facts.name,
                parameter.name,
            )
            assert len(parameter.choice_names) in (0, len(parameter.choices))


def test_a_parameter_survives_the_manifest() -> None:
    """Every field goes there and back: server, client and exporter have one and the same description."""
    for kind in CATALOGUE.values():
        for parameter in kind.facts.parameters:
            assert Parameter.of(parameter.to_message()) == parameter
