"""What holds of every defence in the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from restorers import generated

from scoreguard.catalogue import UnknownNameError
from scoreguard.chain.resolve import STEP_PARAMETER
from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.catalogue import CATALOGUE, defence_named
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.errors import ParameterError
from scoreguard_export.exporters.signature import Case, make_inputs
from scoreguard_export.testing import DEFENCE_RULES, check_defence

HEAVY = [name for name, kind in CATALOGUE.items() if any(source.shipped is None for source in kind.sources.values())]
"""Those with official weights: large networks. Their variants differ in weights alone, and their own tests compare the
graphs."""
VARIANTS = [
    (name, variant) for name, kind in CATALOGUE.items() if name not in HEAVY for variant in kind.facts.variants()
]
LONGEST = ("nlm", "wavelet", "tv", "denoiser", "jpeg")
"""Those whose graphs take longest: checked with the slow tests. Their own files test them always."""
STATED = ("complete-facts", "licensed-weights", "sound-parameters", "declared-variants", "smallest-image")
STATED_RULES = [rule for rule in DEFENCE_RULES if rule.name in STATED]
"""What a large network is checked by here: the other rules take minutes of it."""


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Those of a check."""
    return [pytest.mark.slow] if name in LONGEST else []


@pytest.mark.parametrize(("name", "variant"), [pytest.param(*each, marks=marks(each[0])) for each in VARIANTS])
def test_every_defence_obeys_every_rule(name: str, variant: dict[str, float]) -> None:
    """Every variant at every setting: facts, shapes, ranges, batches, draws, gradients, both graphs, tiles."""
    check_defence(name, variants=[variant])


@pytest.mark.parametrize("name", HEAVY)
def test_every_large_defence_states_what_it_must(name: str, tmp_path: Path) -> None:
    """Facts, parameters and the smallest image of the default variant, with generated weights or the shipped ones."""
    kind = CATALOGUE[name]
    default = {parameter.name: parameter.default for parameter in kind.facts.structural}
    files = generated(kind, tmp_path) if issubclass(kind, LearnedDefence) else {}
    check_defence(name, files=files, variants=[default], rules=STATED_RULES)


def extremes(defence: Defence) -> list[dict[str, float]]:
    """Defaults, and each graph parameter at its two ends; a diffusion ends where its denoiser's training does."""
    defaults = {p.name: p.default for p in defence.facts.graph_parameters}
    ends = [{**defaults, p.name: end} for p in defence.facts.graph_parameters for end in (p.minimum, p.maximum)]
    last = float(len(defence.schedule(defence.structural)))
    return [defaults, *({**end, STEP_PARAMETER: min(end[STEP_PARAMETER], last)} if last else end for end in ends)]


@pytest.mark.parametrize("name", HEAVY)
def test_outputs_of_large_defences_stay_images_at_the_extremes(name: str) -> None:
    """Black, white and noise of the smallest size give finite values in [0, 1], of the size that the facts promise."""
    defence = CATALOGUE[name]()
    least = defence.facts.minimum_size
    noise = torch.rand(1, 3, least, least, generator=torch.Generator().manual_seed(2))
    image = torch.cat([torch.zeros_like(noise), torch.ones_like(noise), noise, noise.round()])
    for parameters in extremes(defence):
        case = Case(batch=4, height=least, width=least, parameters=parameters)
        with torch.no_grad():
            output = defence(*make_inputs(defence, case, image))
        assert output.shape[:2] == (4, 3)
        assert output.shape[2:] == image.shape[2:] or not defence.facts.size_preserving
        assert output.dtype == torch.float32
        assert 0.0 <= float(output.min()) <= float(output.max()) <= 1.0


def test_a_wrong_name_gets_the_near_ones() -> None:
    """A slip of the keyboard is answered with the name that was meant."""
    assert defence_named("jpeg") is CATALOGUE["jpeg"]
    with pytest.raises(UnknownNameError, match="did you mean jpeg"):
        defence_named("jpg")


@pytest.mark.parametrize("name", [name for name, kind in CATALOGUE.items() if kind.facts.structural])
def test_a_structural_value_without_a_graph_is_refused(name: str) -> None:
    """Only exported variants can be built."""
    parameter = CATALOGUE[name].facts.structural[0]
    with pytest.raises(ParameterError, match=f"no graph for {parameter.name}=-7"):
        CATALOGUE[name](**{parameter.name: -7.0})
