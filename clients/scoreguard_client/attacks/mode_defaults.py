"""Defaults that depend on the mode: a parameter left at 0 takes the value of the mode that runs."""

from __future__ import annotations

from scoreguard_client.attacks.base import Attack, Mode


def fill_mode_defaults(attack: Attack, mode: Mode, **numbers: tuple[float, float]) -> None:
    """Write the mode's value into each parameter that is 0, so that the text form says what ran.

    Call it in `__post_init__`, before the parameters are checked.

    Args:
        attack: under construction.
        mode: which of the two values applies.
        numbers: parameter -> (number in paper mode, number in benchmark mode), of the parameter's type.
    """
    for name, choice in numbers.items():
        if getattr(attack, name) == 0:
            write(attack, name, choice[mode is Mode.BENCHMARK])


def write(attack: Attack, name: str, value: float) -> None:
    """Write one parameter; an attack is frozen except during its own construction."""
    object.__setattr__(attack, name, value)
