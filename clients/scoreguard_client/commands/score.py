"""`scoreguard score`: score images behind defences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from scoreguard.chain.smoothing import Smoothing
from scoreguard.support import console
from scoreguard.support.shown import path_text
from scoreguard.v1.spec import format_chain
from scoreguard_client._client import ScoringClient
from scoreguard_client._clip_models import ClipDraw
from scoreguard_client._config import ConnectionConfig
from scoreguard_client._exceptions import ScoreguardError, ServerError
from scoreguard_client._images import to_pillow
from scoreguard_client._models import Certificate, Score
from scoreguard_client._requests import PreparedScore, ScoreRequest, SharedOptions
from scoreguard_client._responses import Outcome
from scoreguard_client.commands._clips import ClipRun, score_clips
from scoreguard_client.commands._connection import METRIC_HELP, chosen_metric, connection_options


@click.command(
    epilog="""\b
Example:
  scoreguard score photo.png --metric lite --defence jpeg:quality=50
  scoreguard score clip.mp4 --metric vsfa --every 5
"""
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--metric", default="", help=METRIC_HELP)
@click.option(
    "--chain",
    "--defence",
    "defences",
    multiple=True,
    metavar="CHAIN",
    help="Chain before the metric: name:key=value, steps joined by '+'; repeat to append. Without it, undefended.",
)
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="Seed of random defences; random by default.")
@click.option("--undefended", is_flag=True, help="Also score without the defences and show the gap.")
@click.option(
    "--smoothing",
    type=int,
    metavar="SAMPLES",
    help="Score this many noisy copies and print their median with certified bounds; 1000 is usual. Takes as long as "
    "that many images: see --timeout.",
)
@click.option(
    "--sigma", type=float, help=f"Standard deviation of the noise of --smoothing.  [default: {Smoothing.sigma}]"
)
@click.option("--radius", type=float, help=f"L2 radius of the certificate.  [default: {Smoothing.radius}]")
@click.option("--confidence", type=float, help=f"Confidence of each bound.  [default: {Smoothing.confidence}]")
@click.option(
    "--save-purified",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.png",
    help="Write what the metric saw, rounded to 8 bits (one image only).",
)
@click.option("--every", type=click.IntRange(min=1), help="Of a clip, score each so many-th frame, from the first on.")
@click.option("--limit", type=click.IntRange(min=1), help="Of a clip, score at most this many frames.")
@click.option(
    "--draw", type=click.Choice(["clip", "frame"]), help="Random defences draw once a clip (default) or a frame."
)
@click.option(
    "--attack", default="", metavar="ATTACK", help="Also score the clip with each frame attacked: ifgsm:eps=8/255."
)
@click.option("--adaptive", is_flag=True, help="Let --attack work through the chain.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@connection_options
def command(
    images: Sequence[str],
    metric: str,
    defences: Sequence[str],
    seed: int | None,
    undefended: bool,
    save_purified: Path | None,
    as_json: bool,
    target: str,
    config: ConnectionConfig,
    every: int | None,
    limit: int | None,
    draw: ClipDraw | None,
    attack: str,
    adaptive: bool,
    **smoothing: float | None,
) -> int:
    """Score IMAGEs (image files), or clips (video files), on a server."""
    if save_purified is not None and len(images) > 1:
        raise click.UsageError("--save-purified takes one image")
    options = SharedOptions(
        metric=metric,
        defences=defences,
        seed=seed,
        return_undefended=undefended,
        return_purified=save_purified is not None,
        smoothing=_smoothing(**smoothing),
    )
    clips = ClipRun(
        metric=metric,
        chain="+".join(defences),
        seed=seed,
        undefended=undefended,
        every=every,
        limit=limit,
        draw=draw,
        attack=attack,
        adaptive=adaptive,
        timeout=config.stream_timeout_seconds,
    )
    with ScoringClient(target, config) as client:
        if clips.asked_for(images):
            if options.smoothing is not None or save_purified is not None:
                raise click.UsageError("--smoothing and --save-purified are for images, and this is a clip")
            return score_clips(client, images, clips, as_json=as_json)
        outcomes = _outcomes(client, options, images, config.timeout_seconds, each=as_json)
        named = zip(map(path_text, images), outcomes, strict=True)
        return _show_all(named, as_json, save_purified)


def _outcomes(
    client: ScoringClient, options: SharedOptions, images: Sequence[str], timeout: float, *, each: bool
) -> Iterator[Outcome]:
    """Return one outcome per image; an error that ends the work is the outcome of all remaining images.

    Raises:
        ScoreguardError: no image got its own answer, unless `each` must have one.
    """
    left = len(images)
    try:
        chosen = replace(options, metric=chosen_metric(client, options.metric))
        # The written files have 8 bits, so 8 bits are enough on the wire.
        requests = [replace(chosen.request_of(image), purified_format="png") for image in images]
        for outcome in _scored(client, requests, timeout):
            left -= 1
            yield outcome
    except ScoreguardError as error:
        if left == len(images) > 1 and not each:
            raise
        yield from [error] * left


def _scored(client: ScoringClient, requests: Sequence[ScoreRequest], timeout: float) -> Iterator[Outcome]:
    if len(requests) > 1:
        yield from client.score_stream(requests, timeout=timeout * len(requests))
    else:
        yield client.score_prepared(PreparedScore.of(requests[0]))


def _smoothing(smoothing: float | None, **others: float | None) -> Smoothing | None:
    given: dict[str, Any] = {name: value for name, value in others.items() if value is not None}
    if smoothing is not None:
        return Smoothing(samples=int(smoothing), **given)
    if given:
        raise click.UsageError(f"--{next(iter(given))} goes with --smoothing SAMPLES")
    return None


def _show_all(pairs: Iterator[tuple[str, Outcome]], as_json: bool, save_purified: Path | None) -> int:
    scored: list[tuple[str, Score]] = []
    failed = 0
    said: Outcome | None = None
    for name, outcome in pairs:
        if as_json:
            click.echo(console.json_text(_record(name, outcome)))
        if isinstance(outcome, ScoreguardError):
            failed += 1
            if outcome is not said:
                said = outcome
                click.echo(f"error: {outcome}" if name in str(outcome) else f"error: {name}: {outcome}", err=True)
            continue
        scored.append((name, outcome))
        if save_purified is not None:
            _save(outcome, save_purified)
    if scored and not as_json:
        _show(scored, alone=len(scored) + failed == 1)
    return console.BAD_INPUT if failed else 0


def _show(scored: Sequence[tuple[str, Score]], *, alone: bool) -> None:
    if alone:
        click.echo(_line(scored[0][1]))
    else:
        _print(scored)


def _record(name: str, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, ServerError):
        return {"image": name, "error": {"code": outcome.code, "reason": outcome.reason, "message": str(outcome)}}
    if isinstance(outcome, ScoreguardError):
        return {"image": name, "error": {"code": "", "reason": type(outcome).__name__, "message": str(outcome)}}
    return {"image": name} | _facts(outcome)


def _facts(score: Score) -> dict[str, Any]:
    provenance = score.provenance
    return {
        "score": score.score,
        "undefended_score": score.undefended_score,
        "gap": score.gap,
        "certificate": None if score.certificate is None else asdict(score.certificate),
        "defences": format_chain(part.step for part in provenance.steps),
        "seed": provenance.seed,
        "precision": provenance.precision,
        "engine": provenance.engine,
        "computation": None if provenance.computation is None else asdict(provenance.computation),
        "metric_sha256": provenance.metric_sha256,
        "height": provenance.height,
        "width": provenance.width,
        "timings_ms": [[timing.stage, timing.milliseconds] for timing in score.timings],
    }


def _print(scored: Sequence[tuple[str, Score]]) -> None:
    from rich.table import Table

    first = scored[0][1]
    columns = ["undefended", "gap"] if first.gap is not None else []
    columns += ["lower", "upper"] if first.certificate is not None else []
    caption = None if first.certificate is None else _scope(first.certificate)
    table = Table("image", "score", *columns, caption=caption)
    for name, score in scored:
        proven = score.certificate
        bounds = [] if proven is None else [proven.lower, proven.upper]
        numbers = [score.score, score.undefended_score, score.gap, *bounds]
        table.add_row(name, *(f"{number:.4f}" for number in numbers if number is not None))
    console.output().print(table)


def _line(score: Score) -> str:
    parts = [] if score.gap is None else [f"undefended {score.undefended_score:.4f}, gap {score.gap:+.4f}"]
    if (proven := score.certificate) is not None:
        parts.append(f"{proven.lower:.4f} to {proven.upper:.4f} {_scope(proven)}")
    return f"{score.score:.4f}" + "".join(f"  ({part})" for part in parts)


def _scope(proven: Certificate) -> str:
    return f"within L2 {proven.radius:g}, each bound with confidence {proven.confidence:.12g}"


def _save(score: Score, path: Path) -> None:
    if score.purified is None:
        raise click.ClickException("the server returned no purified image")
    try:
        to_pillow(score.purified).save(path)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot write {path}: {error}") from error
