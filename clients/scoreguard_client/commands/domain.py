"""`scoreguard domain`: maps onto the scale of a reference metric."""

from __future__ import annotations

from pathlib import Path

import click

from scoreguard.score_range import ScoreRange
from scoreguard.support import console
from scoreguard_client.commands._tables import read_range
from scoreguard_client.report.errors import TableError
from scoreguard_client.report.samples import read_sample
from scoreguard_client.scores.domain_transform import DomainTransform

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Map the scores of a metric onto the scale of another, to compare gains against both."""


@command.command(
    name="fit",
    epilog="""\b
Example:
  scoreguard domain fit lite.jsonl nima.jsonl --metric lite --reference nima --reference-range 1,10 --out map.json
""",
)
@click.argument("scores", type=_FILE)
@click.argument("reference_scores", metavar="REFERENCE", type=_FILE)
@click.option("--out", type=_FILE, required=True, help="The file to write, for scoreguard report --domain-transform.")
@click.option("--metric", default="", metavar="NAME", help="The metric of SCORES, if the file does not name it.")
@click.option("--lower-better", is_flag=True, help="Low scores of that metric are good.")
@click.option("--reference", default="", metavar="NAME", help="The metric of REFERENCE, if the file does not name it.")
@click.option(
    "--reference-range",
    metavar="WORST,BEST",
    callback=read_range,
    help="Its range, 100,0 if lower is better; by default its lowest and highest score.",
)
@click.option(
    "--slope",
    type=click.FloatRange(min=0),
    help="Slope outside the scores; by default that from the worst to the best one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what the map is as one JSON object.")
def fit(
    scores: Path,
    reference_scores: Path,
    out: Path,
    metric: str,
    lower_better: bool,
    reference: str,
    reference_range: ScoreRange | None,
    slope: float | None,
    as_json: bool,
) -> int:
    """Fit a map from SCORES to REFERENCE: clean scores of two metrics, as CSV or of scoreguard score --json.

    Quantiles of one go to the same quantiles of the other, so the images need not be the same.
    """
    higher = reference_range is None or reference_range.higher_is_better
    source, values = read_sample(scores, metric=metric, higher_is_better=not lower_better)
    target, target_values = read_sample(reference_scores, metric=reference, higher_is_better=higher)
    try:
        found = DomainTransform.fit(
            values,
            target_values,
            source=source,
            reference=target,
            reference_range=reference_range,
            slope=slope,
        )
        out.write_text(found.to_json(), encoding="utf-8")
    except ValueError as error:
        raise TableError(f"no map from {scores} to {reference_scores}: {error}") from error
    except OSError as error:
        raise TableError(f"{out} cannot be written: {error}") from error
    if as_json:
        click.echo(console.json_text(found.facts()))
    else:
        click.echo(
            f"{out}: {source.metric} onto {target.metric}, {found.origin}; slope {found.slope:.6g} outside "
            f"{min(found.scores):.6g} to {max(found.scores):.6g}"
        )
    return 0
