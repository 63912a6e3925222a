"""The measured part of docs/gpu.md: tables of one result of `gpu_check.py`, with the aims that are reached or not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from study_speeds import FPS, LEARNED, LEARNED_AIM, SIMPLE, SIMPLE_AIM, STUDY

from gpu import aims
from gpu.sections import SECTIONS

REACHED: Final = "reached"
MISSED: Final = "not reached"
UNKNOWN: Final = "not measured"
_NONE: Final = "–"
_MIB: Final = 1 << 20
Row = Mapping[str, Any]
Result = Mapping[str, Any]


def tables(result: Result, command: str) -> str:
    """Return the tables of one result, in Markdown."""
    device = result["device"]
    software = ", ".join(f"{name} {version}" for name, version in device.get("software", {}).items())
    cores, numerics = device.get("cores", "?"), device.get("numerics", "?")
    lines = [
        f"### {device.get('title') or device.get('name', 'no device')}",
        "",
        f"{result['time'][:10]}, Python {device.get('python', '?')}, {software}; CUDA {device.get('cuda', _NONE)}, "
        f"cuDNN {device.get('cudnn', _NONE)}; {cores} cores; computed {numerics}. "
        f"{result['spent_seconds']:.0f} s of a budget of {result['budget_seconds']:g} s. Repeat it with:",
        "",
        "<!-- not run: it needs a GPU -->",
        "```bash",
        command,
        "```",
        "",
        *_table(("aim", "wanted", "measured", ""), _aims(result)),
    ]
    for section in SECTIONS[1:]:
        part = result["sections"].get(section.name)
        if part is not None:
            lines += ["", f"#### {section.title}", "", *_section(section.name, part)]
    return "\n".join(lines)


def verdict(ratios: Iterable[float | None], aim: float) -> str:
    """Return whether every ratio reaches the aim; one that misses decides, then one that was not measured."""
    found = list(ratios)
    if any(ratio is not None and ratio < aim for ratio in found):
        return MISSED
    return REACHED if found and None not in found else UNKNOWN


def _aims(result: Result) -> Iterator[Sequence[str]]:
    for names, aim, what in (
        (SIMPLE, SIMPLE_AIM, "classical and geometric defences, one image at a time"),
        (LEARNED, LEARNED_AIM, "restorers and diffusions, one image at a time"),
    ):
        published = [name for name in names if name in FPS]
        ratios = {name: _ratio(result, name) for name in published}
        shown = ", ".join(f"`{name}` {_times(ratio)}" for name, ratio in ratios.items())
        yield what, f"≥ {aim:g} × Table 1", shown, verdict(ratios.values(), aim)
    for section, what, aim, keep in (
        ("attacks", "attack steps, batch 16, of forward and backward passes", aims.ATTACKS, lambda row: True),
        ("service", "service, 16 callers, of its worker in one process", aims.SERVICE, _judged),
    ):
        found = [row["ratio"] for row in _rows(result, section) if keep(row)]
        lowest = f"lowest {_number(min(found))}" if found else _NONE
        yield what, f"≥ {aim:g}", lowest, verdict(found, aim)


def _judged(row: Row) -> bool:
    return bool(row["callers"] == aims.SERVICE_CALLERS and row["on_device"])


def _ratio(result: Result, name: str) -> float | None:
    """Return the speed for single images as a multiple of the study's; None if it was not measured."""
    found = [row["ratio"] for row in _rows(result, "defences") if row["name"] == name and row["batch"] == 1]
    return found[0] if found else None


def _rows(result: Result, section: str) -> Sequence[Row]:
    rows: Sequence[Row] = result["sections"].get(section, {}).get("rows", [])
    return rows


def _section(name: str, part: Mapping[str, Any]) -> list[str]:
    lines = _BODIES[name](part["rows"]) if part["rows"] else []
    remarks = [f"{part['status']}: {part['reason']}"] if part["reason"] else []
    remarks += [f"`{failure['item']}` failed: {failure['error']}" for failure in part["failures"]]
    remarks += [f"out of time before {', '.join(part['left_out'])}"] if part["left_out"] else []
    remarks += [*part["notes"], *_memory(part["memory"])]
    if not part["rows"] and not remarks:
        remarks = [UNKNOWN]
    return [*lines, *([""] if lines and remarks else []), *(f"- {_plain(remark)}" for remark in remarks)]


def _memory(memory: Mapping[str, int]) -> Iterator[str]:
    names = {"device": "of tensors on the GPU", "in_use": "of the GPU in use", "process": "resident"}
    if memory:
        yield "peak memory: " + ", ".join(
            f"{_mib(memory[key])} MiB {text}" for key, text in names.items() if key in memory
        )


def _defences(rows: Sequence[Row]) -> list[str]:
    measured = {row["name"] for row in rows}
    names = [name for name in STUDY if name in measured or name in FPS]
    batches = sorted({row["batch"] for row in rows})
    by_key = {(row["name"], row["batch"]): row for row in rows}

    def line(name: str) -> list[str]:
        cells = [f"`{name}`", _number(FPS.get(name))]
        for batch in batches:
            row = by_key.get((name, batch))
            cells += [_speed(row), _times(row["ratio"] if row else None) if name in FPS else _NONE]
        aim = LEARNED_AIM if name in LEARNED else SIMPLE_AIM
        last = by_key.get((name, batches[-1]))
        first = by_key.get((name, batches[0]))
        reached = verdict([first["ratio"] if first else None], aim) if name in FPS else "no published speed"
        return [*cells, f"≥ {aim:g} ×", reached, _mib(last["peak_bytes"] if last else None)]

    head = ["defence", "Table 1, /s", *(text for batch in batches for text in (f"batch {batch}, /s", "× Table 1"))]
    return _table([*head, "aim", f"batch {batches[0]}", "peak, MiB"], map(line, names))


def _speeds(rows: Sequence[Row]) -> list[str]:
    head = ("what", "batch", "images /s", "lowest", "highest", "rounds", "peak, MiB")
    return _table(
        head,
        (
            (
                f"`{row['name']}`",
                str(row["batch"]),
                _speed(row),
                *(_number(row[key]) for key in ("lowest", "highest")),
                str(row["rounds"]),
                _mib(row.get("peak_bytes")),
            )
            for row in rows
        ),
    )


def _parity(rows: Sequence[Row]) -> list[str]:
    head = (
        "what",
        "compared",
        "largest difference",
        "mean",
        "tolerance",
        "share beyond",
        "two runs equal",
        "operations",
    )
    return _table(
        head,
        (
            (
                f"`{row['name']}`",
                row["what"],
                *(_number(row[key]) for key in ("largest", "mean", "tolerance", "beyond")),
                "yes" if row["repeats"] else "no",
                ", ".join(row["unrepeatable"]) or _NONE,
            )
            for row in rows
        ),
    )


def _attacks(rows: Sequence[Row]) -> list[str]:
    head = (
        "metric and chain",
        "batch",
        "steps /s",
        "of the limit",
        "of the limit with torch's own settings",
        "aim",
        "",
    )
    return _table(
        head,
        (
            (
                row["name"],
                str(row["batch"]),
                *(_number(row[key]) for key in ("steps_per_second", "ratio", "ratio_to_torch_own")),
                f"≥ {row['aim']:g}",
                verdict([row["ratio"]], row["aim"]),
            )
            for row in rows
        ),
    )


def _service(rows: Sequence[Row]) -> list[str]:
    head = (
        "metric behind",
        "callers",
        "requests /s",
        "limit /s",
        "ratio",
        "p50, ms",
        "p99, ms",
        "failures",
        "scored with",
    )
    return _table(
        head,
        (
            (
                f"`{row['name']}` behind `{row['chain']}`",
                str(row["callers"]),
                *(_number(row[key]) for key in ("per_second", "limit_per_second", "ratio", "p50_ms", "p99_ms")),
                str(row["failures"]),
                row["engine"],
            )
            for row in rows
        ),
    )


def _campaign(rows: Sequence[Row]) -> list[str]:
    head = ("campaign", "images", "records", "failed", "steps done", "of", "seconds", "s per image")
    keys = ("images", "records", "failed", "done", "steps", "seconds", "seconds_per_image")
    return _table(head, ((row["name"], *(_number(row[key]) for key in keys)) for row in rows))


def _onnx(rows: Sequence[Row]) -> list[str]:
    head = ("what", "batch", "images /s", "largest difference", "tolerance", "provider")
    return _table(
        head,
        (
            (
                f"`{row['name']}`",
                str(row["batch"]),
                *(_number(row[key]) for key in ("per_second", "largest", "tolerance")),
                row["provider"],
            )
            for row in rows
        ),
    )


_BODIES: Final[Mapping[str, Callable[[Sequence[Row]], list[str]]]] = {
    "parity": _parity,
    "defences": _defences,
    "metrics": _speeds,
    "attacks": _attacks,
    "service": _service,
    "campaign": _campaign,
    "onnx": _onnx,
    "tf32": _speeds,
}


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    rows = [list(map(_plain, line)) for line in lines]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _plain(text: str) -> str:
    """Keep text of errors inside its cell."""
    return " ".join(text.replace("|", "/").split())


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _speed(row: Row | None) -> str:
    if row is None:
        return _NONE
    return _number(row["per_second"]) + ("" if row["rounds"] else " (first call)")


def _times(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{_number(ratio)} ×"


def _mib(size: int | None) -> str:
    return _NONE if size is None else f"{size / _MIB:.0f}"
