"""Options for tables that were made elsewhere."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from scoreguard.score_range import ScoreRange
from scoreguard_client.report.csv_selection import GROUPS, CsvOptions

_ONE_ROW: Final = "none"


def read_range(context: click.Context, parameter: click.Parameter, text: str | None) -> ScoreRange | None:
    """Read WORST,BEST; for a metric whose low scores are good, the higher number comes first."""
    if text is None:
        return None
    try:
        worst, best = (float(number) for number in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not two numbers, WORST,BEST", context, parameter) from error
    if worst == best or not math.isfinite(best - worst):
        raise click.BadParameter(f"{text!r} is no range", context, parameter)
    return ScoreRange(low=min(worst, best), high=max(worst, best), higher_is_better=worst < best)


def csv_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `--from-csv`; the command gets them as `csv`, which is None without the flag."""

    @click.option("--from-csv", is_flag=True, help="Read CSV files made elsewhere instead of a run.")
    @click.option("--metric", default="", metavar="NAME", help="With --from-csv: the metric, if no column names it.")
    @click.option(
        "--range",
        "declared",
        metavar="WORST,BEST",
        callback=read_range,
        help="With --from-csv: the metric's range; 100,0 if lower is better.",
    )
    @click.option(
        "--by",
        metavar="COLUMN,…",
        help=f"With --from-csv: a row for each value of these columns; {_ONE_ROW} = one row.  "
        f"[default: {','.join(GROUPS)}]",
    )
    @click.option(
        "--where",
        multiple=True,
        metavar="COLUMN=VALUE",
        callback=_read_conditions,
        help="With --from-csv: only lines with this value there.",
    )
    @click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="With --from-csv: write the table as DIR/table.csv too.",
    )
    @functools.wraps(command)
    def extended(
        *,
        from_csv: bool,
        metric: str,
        declared: ScoreRange | None,
        by: str | None,
        where: tuple[tuple[str, str], ...],
        out: Path | None,
        **others: Any,
    ) -> Any:
        given = {"--metric": metric, "--range": declared, "--by": by, "--where": where, "--out": out}
        if not from_csv and (stray := [name for name, value in given.items() if value]):
            raise click.UsageError(f"{stray[0]} goes with --from-csv")
        columns = None if by is None else tuple(by.split(",")) if by != _ONE_ROW else ()
        table = CsvOptions(metric=metric, range=declared, by=columns, where=where)
        return command(csv=table if from_csv else None, out=out, **others)

    return extended


def _read_conditions(
    context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    pairs = [text.partition("=") for text in texts]
    for text, (column, equals, _) in zip(texts, pairs, strict=True):
        if not (column and equals):
            raise click.BadParameter(f"{text!r} is not COLUMN=VALUE", context, parameter)
    return tuple((column, value) for column, _, value in pairs)
