"""Rules about what a class declares: its facts, its parameters and the sources of its weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from scoreguard.support.rules import Rule
from scoreguard.v1.errors import SpecError
from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_export.defences.base import Defence, Parameter
from scoreguard_export.errors import ParameterError
from scoreguard_export.metrics.base import Metric
from scoreguard_export.testing.subject import Subject

_FIRST_YEAR, _LAST_YEAR = 1950, 2100


def _facts(subject: Subject[Any]) -> Iterator[str]:
    facts = subject.kind.facts
    if not _is_name(facts.name):
        yield f"the name {facts.name!r} cannot be written in a chain"
    if subject.listed_as not in (None, facts.name):
        yield f"the catalogue lists it as {subject.listed_as!r}, its facts say {facts.name!r}"
    for text in ("title", "paper"):
        if not getattr(facts, text).strip():
            yield f"the facts have no {text}"
    if not _FIRST_YEAR <= facts.year <= _LAST_YEAR:
        yield f"the year is {facts.year}"
    if facts.minimum_size < 1:
        yield f"the minimum size is {facts.minimum_size}"
    if not 0.0 <= facts.parity_tolerance < math.inf:
        yield f"the parity tolerance is {facts.parity_tolerance}"


def _metric_facts(subject: Subject[Metric]) -> Iterator[str]:
    yield from _facts(subject)
    facts = subject.kind.facts
    if not facts.input_rule.strip():
        yield "the facts have no input rule"
    if not 0.0 < facts.score_range.width < math.inf:
        yield f"the score range is {facts.score_range.low:g} to {facts.score_range.high:g}"


def _sources(subject: Subject[Any]) -> Iterator[str]:
    for name, source in subject.kind.sources.items():
        if not source.licence.strip():
            yield f"the weights {name} have no licence"
        if source.shipped is None and not source.origin:
            yield f"nothing says where the weights {name} are from"


def _parameters(subject: Subject[Defence]) -> Iterator[str]:
    names = [*(p.name for p in subject.kind.facts.parameters), *(r.name for r in subject.kind.facts.random_inputs)]
    if len(set(names)) < len(names) or "image" in names:
        yield f"the inputs image, {', '.join(names)} are not all of different names"
    for parameter in subject.kind.facts.parameters:
        yield from (f"the parameter {parameter.name} {problem}" for problem in _problems(parameter))


def _problems(parameter: Parameter) -> Iterator[str]:
    low, default, high = parameter.minimum, parameter.default, parameter.maximum
    if not _is_name(parameter.name):
        yield "has a name that cannot be written in a chain"
    if not -math.inf < low <= default <= high < math.inf:
        yield f"has the default {default:g}, which is not in its range {low:g} to {high:g}"
    if parameter.choices and default not in parameter.choices:
        yield f"has the default {default:g}, which is none of its choices"
    if any(not low <= choice <= high for choice in parameter.choices):
        yield f"has a choice outside its range {low:g} to {high:g}"
    if parameter.integer and any(not float(value).is_integer() for value in (low, default, high, *parameter.choices)):
        yield "takes whole numbers, and its range, default or choices are others"
    if not parameter.description.endswith("."):
        yield "has a description that does not end with a full stop"


def _variants(subject: Subject[Defence]) -> Iterator[str]:
    kind, defaults = subject.kind, {p.name: p.default for p in subject.kind.facts.structural}
    if (given := kind().structural) != defaults:
        yield f"without arguments it is built with {given}, and the facts say {defaults}"
    if not subject.modules:
        yield "no variant can be built"
    for module in subject.modules:
        if module.training:
            yield f"the variant {module.structural} is in training mode"
    for name in (*list(defaults)[:1], "no-such-parameter"):
        yield from _accepted(kind, name)


def _accepted(kind: type[Defence], name: str) -> Iterator[str]:
    value = -7.0
    try:
        kind(**{name: value})
    except (ParameterError, TypeError):  # TypeError: a keyword that the constructor does not have
        return
    yield f"it is built with {name}={value:g}, of which there is no graph"


def _is_name(text: str) -> bool:
    try:
        return text != UNDEFENDED and [step.name for step in parse_chain(f"{text}:{text}=1")] == [text]
    except SpecError:
        return False


_FACTS_ADVICE = "fill the field in: reports, catalogues and licences quote it"
METRIC_FACTS = Rule[Subject[Metric]](
    name="complete-facts",
    statement="The facts name the method, its source and year, its range and how it reads an image",
    advice=_FACTS_ADVICE,
    findings=_metric_facts,
)
DEFENCE_FACTS = Rule[Subject[Defence]](
    name="complete-facts",
    statement="The facts name the method, its source and year and the smallest image",
    advice=_FACTS_ADVICE,
    findings=_facts,
)
LICENSED_WEIGHTS = Rule[Subject[Any]](
    name="licensed-weights",
    statement="Every weights file has a licence and a place that it is from",
    advice="state licence, and shipped, download or url, in WeightsSource",
    findings=_sources,
)
SOUND_PARAMETERS = Rule[Subject[Defence]](
    name="sound-parameters",
    statement="Every parameter has a name of its own, a default inside its range and a description",
    advice="mend that Parameter in the facts",
    findings=_parameters,
)
DECLARED_VARIANTS = Rule[Subject[Defence]](
    name="declared-variants",
    statement="Without arguments the default variant is built, and undeclared structural values are refused",
    advice="give the constructor the facts' defaults and hand every structural value to super().__init__ by keyword",
    findings=_variants,
)
