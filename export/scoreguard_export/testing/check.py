"""The two check functions, and the rules that they check in order, cheap ones first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from scoreguard.support.rules import Rule, first_breach
from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.catalogue import defence_named
from scoreguard_export.errors import RuleBrokenError
from scoreguard_export.exporters.quiet import quiet
from scoreguard_export.graph_module import NO_FILES
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.catalogue import named
from scoreguard_export.metrics.pyiqa.table import served
from scoreguard_export.testing import fact_rules, graph_rules, module_rules
from scoreguard_export.testing.subject import M, Subject

METRIC_RULES: Final[tuple[Rule[Subject[Metric]], ...]] = (
    fact_rules.METRIC_FACTS,
    fact_rules.LICENSED_WEIGHTS,
    module_rules.SMALLEST_IMAGE,
    module_rules.SCORE_SHAPE,
    module_rules.FINITE_SCORE,
    module_rules.SCORE_RANGE,
    module_rules.REPEATABLE,
    module_rules.INPUT_KEPT,
    module_rules.BATCH_INDEPENDENCE,
    module_rules.FINITE_GRADIENT,
    module_rules.SOME_GRADIENT,
    graph_rules.EXPORTABLE,
    graph_rules.PARITY,
    graph_rules.GOLDEN,
)
"""Rules for every metric, in the order in which they are checked."""
DEFENCE_RULES: Final[tuple[Rule[Subject[Defence]], ...]] = (
    fact_rules.DEFENCE_FACTS,
    fact_rules.LICENSED_WEIGHTS,
    fact_rules.SOUND_PARAMETERS,
    fact_rules.DECLARED_VARIANTS,
    module_rules.SMALLEST_IMAGE,
    module_rules.PURIFIED_SHAPE,
    module_rules.PURIFIED_RANGE,
    module_rules.REPEATABLE,
    module_rules.INPUT_KEPT,
    module_rules.BATCH_INDEPENDENCE,
    module_rules.OWN_DRAWS,
    module_rules.FINITE_GRADIENT,
    module_rules.SOME_GRADIENT,
    graph_rules.EXPORTABLE,
    graph_rules.PARITY,
    graph_rules.TILES,
)
"""Rules for every defence, in the order in which they are checked."""


def check_metric(
    metric: type[Metric] | str,
    *,
    files: Mapping[str, Path] = NO_FILES,
    rules: Iterable[Rule[Subject[Metric]]] = METRIC_RULES,
) -> None:
    """Check that a metric obeys every rule; takes some seconds.

    Args:
        metric: the class, or its name in the catalogue.
        files: weights files by name, for those that are not shipped.
        rules: which ones, for example `without(METRIC_RULES, "score-range")`.

    Raises:
        RuleBrokenError: it breaks one; the message says on which input, and how to fix it.
        UnknownNameError: the catalogue has no such name.
        WeightsError: a weights file is missing, or is not its checkpoint.
    """
    kind, name = (named(metric), served(metric)) if isinstance(metric, str) else (metric, None)
    _check(kind, name, files, (kind.from_weights(files),), rules)


def check_defence(
    defence: type[Defence] | str,
    *,
    files: Mapping[str, Path] = NO_FILES,
    variants: Iterable[Mapping[str, float]] | None = None,
    rules: Iterable[Rule[Subject[Defence]]] = DEFENCE_RULES,
) -> None:
    """Check that a defence obeys every rule, in every structural variant and at every setting of its parameters.

    Args:
        defence: the class, or its name in the catalogue.
        files: weights files by name, for those that are not shipped.
        variants: structural parameters of the variants to check; None = all that can be built from the files.
        rules: which ones, for example `without(DEFENCE_RULES, "parity")`.

    Raises:
        RuleBrokenError: it breaks one; the message says which setting and image, and how to fix it.
        UnknownNameError: the catalogue has no such name.
        ParameterError: a variant has a structural value that the facts do not have.
        WeightsError: a weights file is missing, or is not its checkpoint.
    """
    kind, name = (defence_named(defence), defence) if isinstance(defence, str) else (defence, None)
    chosen = kind.variants(files) if variants is None else variants
    _check(kind, name, files, tuple(kind.from_weights(files, **variant) for variant in chosen), rules)


def _check(
    kind: type[M], name: str | None, files: Mapping[str, Path], modules: tuple[M, ...], rules: Iterable[Rule[Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, quiet():
        subject = Subject[M](kind=kind, listed_as=name, files=files, modules=modules, folder=Path(folder))
        if breach := first_breach(rules, subject):
            raise RuleBrokenError(subject.name, breach) from breach.cause
