"""The text form of a chain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreguard.v1.errors import SpecError
from scoreguard.v1.spec import Step, format_chain, parse_chain, parse_chains

pytestmark = pytest.mark.base

names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
values = st.floats(min_value=-1e6, max_value=1e6).map(lambda value: float(f"{value:.12g}"))
steps = st.builds(
    lambda name, parameters: Step(name=name, parameters=tuple(sorted(parameters.items()))),
    names.filter(lambda name: name != "none"),
    st.dictionaries(names, values, max_size=3),
)


@given(st.lists(steps, max_size=4))
def test_a_chain_survives_being_written_and_read(chain: list[Step]) -> None:
    """parse(format(chain)) is the chain."""
    assert parse_chain(format_chain(chain)) == tuple(chain)


@given(steps)
def test_a_step_survives_the_wire(step: Step) -> None:
    """from_message(to_message(step)) is the step."""
    assert Step.from_message(step.to_message()) == step


@pytest.mark.parametrize("text", ["", "none", "  none "])
def test_nothing_and_none_are_the_undefended_chain(text: str) -> None:
    """Both spellings give no step."""
    assert parse_chain(text) == ()


def test_a_list_of_chains_is_separated_by_commas() -> None:
    """`none,jpeg:quality=50+flip` is two chains."""
    chains = parse_chains("none,jpeg:quality=50+flip")
    assert [format_chain(chain) for chain in chains] == ["none", "jpeg:quality=50+flip"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("jpeg:quality", "is not key=value"),
        ("jpeg:quality=HIGH", "is not a number"),
        ("jpeg:quality=nan", "is not a finite number"),
        ("jpeg:quality=1:quality=2", "given twice"),
        ("+jpeg", "is not a name"),
        ("JPEG", "is not a name"),
    ],
)
def test_an_unreadable_chain_says_what_is_wrong_in_one_line(text: str, problem: str) -> None:
    """The error names the problem and shows the form."""
    with pytest.raises(SpecError, match=problem) as caught:
        parse_chain(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("jpeg:quality=50:subsampling=4:2:0", {"quality": 50.0, "subsampling": "4:2:0"}),
        ("jpeg:subsampling=4:4:4:quality=7", {"quality": 7.0, "subsampling": "4:4:4"}),
        ("upscale:mode=bicubic", {"mode": "bicubic"}),
        ("diffpure:model=guided:t=5", {"model": "guided", "t": 5.0}),
    ],
)
def test_a_value_may_be_a_name(text: str, parameters: dict[str, float | str]) -> None:
    """Names of choices stand where numbers stand, a colon inside them included; on the wire they are names too."""
    (step,) = parse_chain(text)
    assert dict(step.parameters) == parameters
    message = step.to_message()
    assert {**message.parameters, **message.choices} == parameters
    assert Step.from_message(message) == step
    assert parse_chain(format_chain([step])) == (step,)
