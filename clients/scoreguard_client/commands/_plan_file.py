"""Plan files of `scoreguard attack`: YAML with the long options as keys; every error names its line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import yaml

from scoreguard.v1.errors import ContractError, SpecError
from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client._exceptions import ScoreguardError
from scoreguard_client._models import Catalogue
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.attacks.text_values import escaped
from scoreguard_client.campaign.selection import ALL, chosen_metrics
from scoreguard_client.campaign.sweeps import parse_sweep, swept
from scoreguard_client.target.chains import complete_chains
from scoreguard_client.target.errors import PlanError

ATTACKS: Final = "attacks"
DEFENCES: Final = "defences"
SWEEP: Final = "sweep"
_LISTS: Final = (ATTACKS, DEFENCES, "chains", "metric")
"""Keys that take lists."""
_REPEATED: Final = ("also",)
"""Keys of options that may be given several times."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One attack, chain or metric of a file."""

    place: str
    """Where it stands: the file and the line."""
    text: str
    """Its text form."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One key of a file."""

    place: str
    """Where it stands: the file and the line."""
    key: str
    """The key, with underscores."""
    value: Any
    """The value in its option's form."""
    items: tuple[Item, ...] = ()
    """The items of a list."""


@dataclass(frozen=True)
class PlanFile:
    """A file that was read."""

    entries: tuple[Entry, ...]
    """Its keys."""

    def check(self, catalogue: Catalogue, metric: str, used: Collection[str]) -> None:
        """Check metrics and chains against what is deployed.

        Args:
            catalogue: what is deployed.
            metric: the metrics of the campaign, as its option says.
            used: the parameters that the command line leaves to the file.

        Raises:
            PlanError: a metric or a defence is not deployed, or a parameter is unknown or out of range; with the line.
        """
        for item in self._items("metric") if "metric" in used else ():
            _located(item, catalogue.metric)
        chains = [item for item in self._items(DEFENCES, "chains") if item.text not in (ALL, UNDEFENDED)]
        for described in chosen_metrics(metric, catalogue) if {DEFENCES, SWEEP} & set(used) else ():
            for item in chains if DEFENCES in used else ():
                _located(item, lambda text, of=described: complete_chains([parse_chain(text)], of))  # type: ignore[misc]
            for item in self._items(SWEEP) if SWEEP in used else ():
                _located(item, lambda text, of=described: list(swept([parse_sweep(text)], (), of)))  # type: ignore[misc]

    def _items(self, *keys: str) -> list[Item]:
        return [item for entry in self.entries if entry.key in keys for item in entry.items]


def read_plan(ctx: click.Context, option: click.Parameter, path: Path | None) -> PlanFile | None:
    """Read the file of an option, and make its values the defaults of the other options.

    Raises:
        PlanError: the file cannot be read; a key is unknown or there twice; a value does not fit; with the line.
    """
    del option
    if path is None:
        return None
    options = {key: known for key, known in keys_of(ctx.command) if known.name not in ("plan", "help")}
    opposites = {key_of(flag) for known in ctx.command.params for flag in known.secondary_opts}
    file = PlanFile(tuple(_entries(path, options)))
    ctx.default_map = {}
    for entry in file.entries:
        known = options[entry.key]
        value = not entry.value if entry.key in opposites and isinstance(entry.value, bool) else entry.value
        _check(ctx, known, entry, value)
        if known.name in ctx.default_map:
            raise PlanError(f"{entry.place}: {entry.key!r} was given before, maybe under its other name")
        ctx.default_map[known.name or ""] = value
    return file


def keys_of(command: click.Command) -> Iterator[tuple[str, click.Parameter]]:
    """Map every long option, as a plan writes it, to its parameter."""
    for option in command.params:
        for flag in (*option.opts, *option.secondary_opts):
            yield key_of(flag), option


def key_of(flag: str) -> str:
    """Return an option as a plan writes it."""
    return flag.lstrip("-").replace("-", "_")


def _check(ctx: click.Context, option: click.Parameter, entry: Entry, value: Any) -> None:
    """Check a value as its option does, and each attack and chain as far as that needs no server."""
    if isinstance(value, bool) and not getattr(option, "is_flag", False):
        raise PlanError(f"{entry.place}: {entry.key} takes a value, not {str(value).lower()}")
    if isinstance(value, float) and isinstance(option.type, type(click.INT)) and not value.is_integer():
        raise PlanError(f"{entry.place}: {entry.key} takes a whole number, not {value:g}")
    try:
        option.process_value(ctx, value)
    except click.BadParameter as error:
        raise PlanError(f"{entry.place}: {entry.key}: {error.message}") from error
    read: Callable[[str], object] = {ATTACKS: parse_attack, SWEEP: parse_sweep}.get(entry.key, parse_chain)
    for item in entry.items if entry.key != "metric" else ():
        if item.text != ALL:
            _located(item, read)


def _located(item: Item, use: Callable[[str], object]) -> None:
    try:
        use(item.text)
    except (ScoreguardError, ContractError) as error:
        raise PlanError(f"{item.place}: {error}") from error


def _entries(path: Path, known: Collection[str]) -> Iterator[Entry]:
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        pairs = root.value if isinstance(root, yaml.MappingNode) else None
        values = [(key, loader.construct_object(value, deep=True), value) for key, value in pairs or ()]
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise PlanError(f"{path}{line} cannot be read as YAML: {error.problem or error.context}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PlanError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if pairs is None:
        raise PlanError(f"{path}: a plan is a mapping of options, for example 'attacks: [fgsm, ifgsm]'")
    seen: set[str] = set()
    for key, value, node in values:
        name = str(key.value).replace("-", "_")
        place = _place(path, key)
        if name in seen:
            raise PlanError(f"{place}: key {name!r} is there twice")
        if name not in known:
            raise PlanError(f"{place}: unknown key {name!r}; the keys are the long options, for example attacks")
        seen.add(name)
        yield _entry(path, place, name, value, node)


def _entry(path: Path, place: str, key: str, value: Any, node: yaml.Node) -> Entry:
    if value is None:
        raise PlanError(f"{place}: {key} has no value: give one, or leave the key out")
    if key in _REPEATED:
        return Entry(place=place, key=key, value=[str(part) for part in value] if isinstance(value, list) else [value])
    if key == SWEEP:
        sweeps = [Item(place=_place(path, part), text=text) for text, part in _sweeps(value, node, place)]
        return Entry(place=place, key=key, value=[item.text for item in sweeps], items=tuple(sweeps))
    if key not in _LISTS:
        if isinstance(value, list | dict):
            raise PlanError(f"{place}: {key} takes one value, not a list or a mapping")
        return Entry(place=place, key=key, value=value)
    try:
        parts = [Item(place=_place(path, part), text=text) for text, part in _parts(value, node, key)]
    except PlanError as error:
        raise PlanError(f"{place}: {error}") from error
    return Entry(place=place, key=key, value=",".join(part.text for part in parts), items=tuple(parts))


def _place(path: Path, node: yaml.Node) -> str:
    return f"{path}, line {node.start_mark.line + 1}"


def _sweeps(value: Any, node: yaml.Node, place: str) -> Iterator[tuple[str, yaml.Node]]:
    """Yield sweeps with the nodes that they are from: texts, or mappings of a parameter to a range or to its values."""
    if isinstance(value, list) and isinstance(node, yaml.SequenceNode):
        for one, inner in zip(value, node.value, strict=True):
            yield from _sweeps(one, inner, place)
    elif isinstance(value, dict) and isinstance(node, yaml.MappingNode):
        for (target, values), (inner, _) in zip(value.items(), node.value, strict=True):
            listed = values if isinstance(values, list) else [values]
            yield f"{target}={','.join(str(each) for each in listed)}", inner
    elif isinstance(value, str):
        yield value, node
    else:
        raise PlanError(f"{place}: {value!r} is no sweep: write jpeg.quality=10..90:10, or {{jpeg.quality: [10, 50]}}")


def _parts(value: Any, node: yaml.Node, key: str) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the items of a key with the nodes that they are from; a text may hold several, separated by commas."""
    values = listed(value, attacks=key == ATTACKS)
    nodes: list[yaml.Node] = [node] * len(values)
    if isinstance(node, yaml.SequenceNode):
        nodes = node.value
    elif isinstance(node, yaml.MappingNode) and len(node.value) == len(values):
        nodes = [name for name, _ in node.value]
    for one, where in zip(values, nodes, strict=True):
        text = item_text(one, attacks=key == ATTACKS)
        yield from ((part.strip(), where) for part in text.split(",")) if isinstance(one, str) else [(text, where)]


def listed(value: Any, *, attacks: bool) -> list[Any]:
    """Return the value of a plan's key as a list of items."""
    if isinstance(value, dict) and not _names(value, attacks=attacks):
        value = [{name: parameters} for name, parameters in value.items()]
    if value in ([], {}):
        raise PlanError("a plan lists no attack or no defence: leave the key out, or write none")
    return value if isinstance(value, list) else [value]


def as_text(value: Any, *, attacks: bool = False) -> str:
    """Convert a list of attacks or chains to its text form; in attacks, separators inside values are escaped."""
    return ",".join(item_text(item, attacks=attacks) for item in listed(value, attacks=attacks))


def _names(item: dict[Any, Any], *, attacks: bool) -> list[str]:
    """Return the key of a mapping that names what the other keys are parameters of, if it has one."""
    return [key for key in (("name", "attack") if attacks else ("name",)) if key in item]


def item_text(value: Any, *, attacks: bool) -> str:
    """Convert one attack or chain of a list: text, a mapping, or a list of steps."""
    if isinstance(value, list):
        return "+".join(item_text(step, attacks=attacks) for step in value)
    if not isinstance(value, dict):
        return str(value)
    if names := _names(value, attacks=attacks):
        rest = {key: entry for key, entry in value.items() if key != names[0]}
        return _spec(str(value[names[0]]), rest, attacks=attacks)
    if len(value) != 1:
        raise PlanError(f"{value!r} is no attack and no defence: write {{ifgsm: {{eps: 8/255}}}}, or name: ifgsm")
    ((name, parameters),) = value.items()
    if not isinstance(parameters, dict | None):
        raise PlanError(f"the parameters of {name!r} must be a mapping, for example {{{name}: {{eps: 8/255}}}}")
    return _spec(str(name), parameters or {}, attacks=attacks)


def _spec(name: str, parameters: dict[Any, Any], *, attacks: bool) -> str:
    if attacks:
        return ":".join([name, *(f"{key}={escaped(str(value))}" for key, value in parameters.items())])
    parts = [f"{key}={value}" for key, value in parameters.items()]
    if wrong := next((part for part in parts if not _is_one_pair(name, part)), None):
        raise PlanError(f"{name}: {wrong!r} holds one of the marks : , + that separate attacks, steps and parameters")
    return ":".join([name, *parts])


def _is_one_pair(name: str, part: str) -> bool:
    """Whether a parameter stays one in the text of a chain: a colon as in 4:2:0 is harmless."""
    if not any(mark in part for mark in ":,+"):
        return True
    try:
        return [len(step.parameters) for step in parse_chain(f"{name}:{part}")] == [1]
    except SpecError:
        return False
