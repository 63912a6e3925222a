"""What holds of every defence in the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest
from restorers import generated

from scoreguard.catalogue import UnknownNameError
from scoreguard_export.defences.catalogue import CATALOGUE, defence_named
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.errors import ParameterError
from scoreguard_export.testing import DEFENCE_RULES, check_defence, without

HEAVY = [name for name, kind in CATALOGUE.items() if any(source.shipped is None for source in kind.sources.values())]
"""Those with official weights: large networks. Their variants differ in weights alone, and their own tests compare the
graphs."""
VARIANTS = [
    (name, variant) for name, kind in CATALOGUE.items() if name not in HEAVY for variant in kind.facts.variants()
]
EAGER_RULES = without(DEFENCE_RULES, "finite-gradient", "some-gradient", "exportable", "parity", "tiles")


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_defence_obeys_every_rule(name: str, variant: dict[str, float]) -> None:
    """Every variant at every setting: facts, shapes, ranges, batches, draws, gradients, both graphs, tiles."""
    check_defence(name, variants=[variant])


@pytest.mark.parametrize("name", HEAVY)
def test_every_large_defence_obeys_every_rule_that_needs_no_export(name: str, tmp_path: Path) -> None:
    """The default variant, with generated weights or the shipped ones."""
    kind = CATALOGUE[name]
    default = {parameter.name: parameter.default for parameter in kind.facts.structural}
    files = generated(kind, tmp_path) if issubclass(kind, LearnedDefence) else {}
    check_defence(name, files=files, variants=[default], rules=EAGER_RULES)


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
