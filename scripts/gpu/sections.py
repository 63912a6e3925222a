"""The sections of the check, most important first; it imports nothing that a bare Python lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section."""

    name: str
    title: str
    """What it measures, for the page."""
    share: float
    """Share of the time, relative to the other sections; what one leaves goes to those after it."""
    function: str
    """`module:function`, which takes a `Work`."""

    def load(self) -> Callable[[Any], None]:
        """Return the function."""
        module, _, name = self.function.partition(":")
        found: Callable[[Any], None] = getattr(import_module(module), name)
        return found


SECTIONS: Final = (
    Section(name="device", title="The device", share=3, function="gpu.parity:facts"),
    Section(name="parity", title="Agreement with the CPU", share=4, function="gpu.parity:measure"),
    Section(name="defences", title="Defences", share=6, function="gpu.speeds:defences"),
    Section(name="metrics", title="Metrics", share=2, function="gpu.speeds:metrics"),
    Section(name="attacks", title="Attacks", share=3, function="gpu.attack_steps:measure"),
    Section(name="service", title="Service", share=5, function="gpu.service:measure"),
    Section(name="campaign", title="Campaign", share=4, function="gpu.campaign:measure"),
    Section(name="onnx", title="ONNX Runtime", share=3, function="gpu.onnx_graphs:measure"),
    Section(name="tf32", title="TF32 and kernels that do not repeat", share=2, function="gpu.speeds:tf32"),
)
FIRST: Final = SECTIONS[0].name
"""The section without which the others mean nothing: it runs in every check."""


def chosen(names: str) -> tuple[Section, ...]:
    """Return sections by name, in their own order; an empty text means all.

    Raises:
        ValueError: there is no such section.
    """
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    if unknown := sorted(wanted - {section.name for section in SECTIONS}):
        known = ", ".join(section.name for section in SECTIONS)
        raise ValueError(f"no section {unknown[0]!r}; the sections are {known}")
    return tuple(section for section in SECTIONS if not wanted or section.name in wanted | {FIRST})
