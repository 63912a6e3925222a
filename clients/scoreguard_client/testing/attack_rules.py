"""The rules of all attacks, and how each is checked; `attacks.py` puts them in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np

from scoreguard.support.rules import Rule
from scoreguard_client.attacks.base import Direction, Needs
from scoreguard_client.attacks.catalogue import CATALOGUE, attack_of
from scoreguard_client.attacks.errors import OracleMismatchError
from scoreguard_client.testing.budgets import budget_findings, form_findings
from scoreguard_client.testing.oracles import ConstantOracle, CostlyOracle, LinearOracle, PeakOracle, ScoreOnly, noise
from scoreguard_client.testing.trials import SIZES, Trial, images_of, size_of

_FIRST_YEAR, _LAST_YEAR = 1950, 2100
_JUDGED = 2
"""Queries that an attack may cost beyond its own: about its result, and about the clean images."""


def _facts(trial: Trial) -> Iterator[str]:
    kind = type(trial.attack)
    for name in ("name", "title", "paper", "budget"):
        if not str(getattr(kind, name, "")).strip():
            yield f"the class has no {name}"
    if set(kind.name) & set(":,= "):
        yield f"the name {kind.name!r} cannot be written in a list of attacks"
    if not isinstance(getattr(kind, "needs", None), Needs):
        yield "the class does not say what it needs"
    if not _FIRST_YEAR <= getattr(kind, "year", 0) <= _LAST_YEAR:
        yield f"the year is {getattr(kind, 'year', 'missing')}"


def _value(trial: Trial) -> Iterator[str]:
    parameters = {field.name for field in fields(trial.attack)}
    for kind in type(trial.attack).__mro__:
        for name, annotation in vars(kind).get("__annotations__", {}).items():
            if name not in parameters and "ClassVar" not in str(annotation):
                yield f"{name} of {kind.__name__} is annotated and no parameter"
    copy = replace(trial.attack)
    if copy != trial.attack or hash(copy) != hash(trial.attack):
        yield "an attack with the same parameters is not equal to it"


def _text(trial: Trial) -> Iterator[str]:
    text = str(trial.attack)
    again = attack_of(type(trial.attack), text)
    if str(again) != text or again != trial.attack:
        yield f"{text} is read back as {again}"


def _needs(trial: Trial) -> Iterator[str]:
    images = images_of(*SIZES[0])
    try:
        trial.attack(images, ScoreOnly(inner=trial.linear(images)), companions=trial.companions)
    except OracleMismatchError:
        if trial.attack.needs is not Needs.GRADIENT:
            yield f"it asks for a gradient and states needs={trial.attack.needs.name}"
    else:
        if trial.attack.needs is Needs.GRADIENT:
            yield "it works without gradients and states needs=GRADIENT"
    if trial.attack.queries_needed and not trial.attack.needs.asks:
        yield f"it declares {trial.attack.queries_needed} queries and states needs={trial.attack.needs.name}"


def _form(trial: Trial) -> Iterator[str]:
    for images in trial.batches():
        for finding in form_findings(images, trial.run(images, trial.linear(images))):
            yield f"{finding}, for images {size_of(images)}"


def _budget(trial: Trial) -> Iterator[str]:
    for tried in trial.radii():
        for images in tried.batches():
            region = tried.attack.region(images, tried.companions)
            for oracle in (tried.linear(images), tried.curved(images)):
                result = tried.run(images, oracle)
                for finding in budget_findings(tried.attack, images, result):
                    yield f"{finding}, for {tried.attack} and images {size_of(images)}"
                if not np.array_equal(region.clip(result.attacked), result.attacked):
                    yield f"the attacked images lie outside its own region, for images {size_of(images)}"


def _input_kept(trial: Trial) -> Iterator[str]:
    images = images_of(*SIZES[0])
    before = images.copy()
    trial.run(images, trial.linear(images))
    if not np.array_equal(images, before):
        yield "the clean images are changed in place"


def _seeds(trial: Trial) -> Iterator[str]:
    images, seeds = images_of(*SIZES[0]), [7, 8, 9]
    for name, oracle in (("linear", trial.linear(images)), ("curved", trial.curved(images))):
        together = trial.run(images, oracle, seeds).attacked
        if not np.array_equal(trial.run(images, oracle, seeds).attacked, together):
            yield f"two runs with the seeds {seeds} differ on a {name} score"
        for place, seed in enumerate(seeds):
            alone = trial.run(images[place : place + 1], oracle, [seed]).attacked
            if not np.array_equal(alone, together[place : place + 1]):
                yield f"image {place} alone with seed {seed} differs from itself in a batch on a {name} score"


def _queries(trial: Trial) -> Iterator[str]:
    images, attack = images_of(*SIZES[0]), trial.attack
    oracle = trial.linear(images)
    result = trial.run(images, oracle)
    if result.queries.tolist() != [oracle.calls] * len(images) or result.trace.shape != (oracle.calls, len(images)):
        yield f"{oracle.calls} questions are asked, {result.queries.max()} counted and {len(result.trace)} in the trace"
    if any(len(seen) != len(images) for seen in oracle.seen):
        yield "a question is about a part of the batch"
    if attack.needs is Needs.SCORES and oracle.calls != attack.queries_needed:
        yield f"{oracle.calls} questions are asked, {attack.queries_needed} declared"
    # A gradient attack that does not know its last score makes one more query, and one about the clean images if none
    # of its queries was; a stopping rule may end a search early.
    if not 0 < oracle.calls <= attack.queries_needed + _JUDGED:
        yield f"{oracle.calls} questions are asked, {attack.queries_needed} declared"


def _calls(trial: Trial) -> Iterator[str]:
    if trial.attack.call_limit is None:
        return
    images = images_of(*SIZES[0])
    oracle = CostlyOracle(weights=trial.linear(images).weights, chain=trial.chain)
    spent = int(trial.run(images, oracle).queries.max())
    if spent > trial.attack.call_limit:
        yield f"{spent} calls are spent where a question costs three or four, allowed {trial.attack.call_limit}"


def _own_score(trial: Trial) -> Iterator[str]:
    images = images_of(*SIZES[0])
    for oracle in (trial.linear(images), trial.curved(images)):
        result = trial.run(images, oracle)
        if not np.allclose(result.scores, oracle.score(result.attacked), rtol=1e-9, atol=1e-12):
            yield f"the scores are not those of the attacked images on the {oracle.facts.metric} oracle"


def _clean(trial: Trial) -> Iterator[str]:
    if not trial.attack.keeps_clean:
        return
    images = np.ascontiguousarray(np.tile(images_of(*SIZES[0]), (1, 1, 2, 2)))
    result = trial.run(images, PeakOracle(clean=images, weights=noise(images.shape[1:], 3), chain=trial.chain))
    if not np.array_equal(result.attacked, images) or np.any(result.scores != 0):
        yield f"it ends at {result.scores.min():.3g} where the clean images score 0 and any change lowers the score"


def _direction(trial: Trial) -> Iterator[str]:
    if not trial.attack.needs.asks:
        return
    images = (images_of(*SIZES[0]) * np.float32(0.5) + np.float32(0.25)).astype(np.float32)
    for higher_is_better in (True, False):
        oracle = LinearOracle(weights=noise(images.shape[1:], 5), higher_is_better=higher_is_better, chain=trial.chain)
        up, down = (
            oracle.facts.sign
            * replace(trial, attack=replace(trial.attack, direction=direction)).run(images, oracle).scores
            for direction in Direction
        )
        if not np.all(up >= down) or not np.any(up > down):
            way = "higher" if higher_is_better else "lower"
            yield f"upwards it does not end above where it ends downwards, on a linear score where {way} is better"


def _flat(trial: Trial) -> Iterator[str]:
    images = images_of(*SIZES[0])
    result = trial.run(images, ConstantOracle(4.0, chain=trial.chain))
    for finding in (*form_findings(images, result), *budget_findings(trial.attack, images, result)):
        yield f"{finding}, where the gradient is 0"


def _listed(trial: Trial) -> Iterator[str]:
    name, kind = trial.attack.name, type(trial.attack)
    if name not in CATALOGUE:
        yield f"no entry point of the group scoreguard.attacks is named {name}"
    elif CATALOGUE[name] is not kind:
        yield f"{name} is the name of {CATALOGUE[name].__module__}.{CATALOGUE[name].__qualname__}"


COMPLETE_FACTS = Rule[Trial](
    name="complete-facts",
    statement="The class states name, title, paper, year, budget and what it needs",
    advice="state it as a class attribute: records and tables quote it",
    findings=_facts,
)
VALUE = Rule[Trial](
    name="value",
    statement="Attacks are values: every annotated attribute is a parameter, equal parameters are equal attacks",
    advice="decorate the class with @dataclass(frozen=True, kw_only=True), and mark what is no parameter as ClassVar",
    findings=_value,
)
TEXT_FORM = Rule[Trial](
    name="text-form",
    statement="str(attack) names every parameter and is read back as an equal attack",
    advice="take parameters of the types float, int, str and StrEnum",
    findings=_text,
)
DECLARED_NEEDS = Rule[Trial](
    name="declared-needs",
    statement="It asks for gradients if and only if it states needs=GRADIENT, and for nothing if it states that",
    advice="state what `run` asks for, and ask by the session",
    findings=_needs,
)
RESULT_FORM = Rule[Trial](
    name="result-form",
    statement="Attacked images are float32 in [0, 1] and of the clean images' shape, for images of any size it takes",
    advice="keep to float32 in `run` and to the shape of session.clean; refuse a size by AttackInputError",
    findings=_form,
)
BUDGET = Rule[Trial](
    name="budget",
    statement="The budget is held exactly, in float32 and after rounding to 8 bits",
    advice="let `region` give the set that eps, rmse, pixels or min_ssim state, such as ball_around(clean, self.eps)",
    findings=_budget,
)
INPUT_KEPT = Rule[Trial](
    name="input-kept",
    statement="The clean images are left as they are",
    advice="copy session.clean before writing into it",
    findings=_input_kept,
)
SEEDS = Rule[Trial](
    name="seeds",
    statement="The same seed gives the same bits, alone and in any batch",
    advice="draw from session.rngs[i] for image i alone, and sum image by image (attacks.per_image)",
    findings=_seeds,
)
QUERIES = Rule[Trial](
    name="queries",
    statement="Every question covers the batch, is counted, and no more are asked than declared: exactly so by scores",
    advice="ask by session.objective or session.gradient alone, as often as queries_needed says",
    findings=_queries,
)
CALLS = Rule[Trial](
    name="calls",
    statement="A budget of calls ends the search, whatever a question costs",
    advice="ask only while session.left is above 0",
    findings=_calls,
)
OWN_SCORE = Rule[Trial](
    name="own-score",
    statement="The score handed out is that of the image handed out",
    advice="give Found(objective=…) only where the last answer was about exactly these images, else leave it out",
    findings=_own_score,
)
NEVER_BELOW_CLEAN = Rule[Trial](
    name="never-below-clean",
    statement="A search that keeps the clean image never ends below it",
    advice="hand out true objectives, or state keeps_clean=False for a method that by definition may end lower",
    findings=_clean,
)
BOTH_DIRECTIONS = Rule[Trial](
    name="both-directions",
    statement="Upwards it ends above where it ends downwards, whichever way the metric runs",
    advice="follow the session's objective and gradient, which already have the sign of the direction",
    findings=_direction,
)
FLAT_SCORE = Rule[Trial](
    name="flat-score",
    statement="A gradient of 0 gives images, not NaN",
    advice="divide by the length of a gradient only where it is above 0 (attacks.directions.unit_l1 does)",
    findings=_flat,
)
LISTED = Rule[Trial](
    name="listed",
    statement="The catalogue finds the class by its name, so that plans and records can",
    advice='add the line  name = "package.module:Class"  to [project.entry-points."scoreguard.attacks"] and install it',
    findings=_listed,
)
