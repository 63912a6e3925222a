"""Sweeps: chains of one defence over values of one of its parameters, `jpeg.quality=10..100:10`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from scoreguard.support.shown import shown
from scoreguard.v1.errors import ContractError, SpecError
from scoreguard.v1.spec import Step, Value, parse_chain, step_of
from scoreguard_client._exceptions import ScoreguardError
from scoreguard_client._models import MetricDescription
from scoreguard_client.target.chains import complete_chains
from scoreguard_client.target.errors import PlanError

MOST: Final = 100
"""Values of one sweep: each is a chain, which every attack is scored behind."""
_FORM: Final = "write DEFENCE.PARAMETER=LOW..HIGH:STEP or DEFENCE.PARAMETER=VALUE,VALUE"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Values of one parameter of a defence."""

    text: str
    """As the user wrote it."""
    defence: str
    """Name of the defence."""
    parameter: str
    """Name of the parameter."""
    values: tuple[Value, ...]
    """Its values, each once, in the order given."""


def parse_sweep(text: str) -> Sweep:
    """Read a sweep: a range whose ends both count, or a list.

    Raises:
        PlanError: the text is no sweep, the range is empty, or there are too many values.
    """
    target, equals, listed = text.strip().partition("=")
    defence, dot, parameter = (part.strip() for part in target.partition("."))
    if not (defence and dot and parameter and equals and listed.strip()):
        raise PlanError(f"sweep {shown(text)!r}: {_FORM}")
    texts = _range(text, listed) if ".." in listed else [part.strip() for part in listed.split(",")]
    try:
        values = [_value(defence, parameter, value) for value in texts]
    except ContractError as error:
        raise PlanError(f"sweep {shown(text)!r}: {error}") from error
    _require_few(text, len(values))
    return Sweep(text=text, defence=defence, parameter=parameter, values=tuple(dict.fromkeys(values)))


def _range(text: str, listed: str) -> list[str]:
    ends, _, step_text = listed.partition(":")
    try:
        low, high = (Decimal(end.strip()) for end in ends.split("..", 1))
        step = Decimal(step_text.strip())
        if not all(number.is_finite() for number in (low, high, step)):
            raise InvalidOperation
        steps = (high - low) / step if step > 0 else Decimal(0)
    except ArithmeticError:
        form = "a range is LOW..HIGH:STEP in numbers, such as 10..100:10"
        raise PlanError(f"sweep {shown(text)!r}: {form}") from None
    if step <= 0:
        raise PlanError(f"sweep {shown(text)!r}: the step must be above 0")
    if low > high:
        raise PlanError(f"sweep {shown(text)!r}: the range is empty, since it ends below its beginning")
    _require_few(text, steps + 1)
    # Decimals, not floats: 0.1..0.3:0.1 has 0.3 itself.
    return [str(low + step * place) for place in range(int(steps) + 1)]


def _require_few(text: str, count: Decimal | int) -> None:
    if count >= MOST + 1:
        raise PlanError(f"sweep {shown(text)!r}: it has more than {MOST} values, and each is a chain")


def _value(defence: str, parameter: str, text: str) -> Value:
    """Read a value as a chain's text form does."""
    chain = f"{defence}:{parameter}={text}"
    steps = parse_chain(chain)
    pairs = [pair for step in steps for pair in step.parameters]
    if len(steps) != 1 or len(pairs) != 1:
        raise SpecError(chain, f"'{shown(text)}' is not one value")
    return pairs[0][1]


def swept(
    sweeps: Iterable[Sweep], chains: Iterable[tuple[Step, ...]], metric: MetricDescription
) -> Iterator[tuple[Step, ...]]:
    """Yield the chains of sweeps: the defence alone, its other parameters as in the first chain that has it.

    Args:
        sweeps: the sweeps.
        chains: the campaign's chains; of a defence that none of them has, the other parameters are its defaults.
        metric: the metric behind them.

    Raises:
        PlanError: the defence is not deployed before this metric, or the parameter is unknown, or out of range.
    """
    steps = [step for chain in sorted(chains, key=len) for step in chain]
    for sweep in sweeps:
        others = next((dict(step.parameters) for step in steps if step.name == sweep.defence), {})
        found = [(step_of(sweep.defence, {**others, sweep.parameter: value}),) for value in sweep.values]
        try:
            complete_chains(found, metric)
        except ScoreguardError as error:
            raise PlanError(f"sweep {shown(sweep.text)!r}: {error}") from error
        yield from found
