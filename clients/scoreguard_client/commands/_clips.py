"""`scoreguard score` of clips: videos, and images as clips of one frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scoreguard.chain.clips import Sampling
from scoreguard.support import console
from scoreguard.support.shown import path_text
from scoreguard.v1.errors import ContractError
from scoreguard.v1.spec import format_chain
from scoreguard_client._client import ScoringClient
from scoreguard_client._clip_models import ClipDraw, ClipScore
from scoreguard_client._clips import is_video_file
from scoreguard_client._exceptions import ScoreguardError
from scoreguard_client.commands._connection import chosen_metric

if TYPE_CHECKING:
    from scoreguard_client.clip_attack import AttackedClip


@dataclass(frozen=True, kw_only=True)
class ClipRun:
    """How the command line says to score clips."""

    metric: str
    chain: str
    """The defences in their text form; empty = undefended."""
    seed: int | None
    undefended: bool
    every: int | None
    limit: int | None
    draw: ClipDraw | None
    attack: str
    adaptive: bool
    timeout: float

    def asked_for(self, paths: Sequence[str]) -> bool:
        """Whether the files are scored as clips: an option says so, or one of them is a video."""
        options = (self.every, self.limit, self.draw, self.attack, self.adaptive)
        return any(options) or any(_is_video(path) for path in paths)

    @property
    def sampling(self) -> Sampling:
        """The frames that are scored."""
        return Sampling(every=self.every or 1, limit=self.limit or 0)


def score_clips(client: ScoringClient, paths: Sequence[str], run: ClipRun, *, as_json: bool) -> int:
    """Score files one after the other, and print the scores; the exit code is that of bad input if one fails.

    Raises:
        click.UsageError: an option goes with another that is missing.
    """
    if run.adaptive and not run.attack:
        raise click.UsageError("--adaptive goes with --attack")
    failed = 0
    for path in paths:
        name = path_text(path)
        try:
            found = _scored(client, path, run)
        except (ScoreguardError, ContractError) as error:
            failed += 1
            click.echo(f"error: {error}" if name in str(error) else f"error: {name}: {error}", err=True)
            if as_json:
                click.echo(console.json_text({"clip": name, "error": _error(error)}))
            continue
        if as_json:
            click.echo(console.json_text({"clip": name} | _record(found)))
            continue
        for line in _lines(found):
            click.echo(line if len(paths) == 1 else f"{name}: {line}")
    return console.BAD_INPUT if failed else 0


def _scored(client: ScoringClient, path: str, run: ClipRun) -> ClipScore | AttackedClip:
    metric, draw = chosen_metric(client, run.metric), run.draw or "clip"
    if not run.attack:
        return client.score_clip(
            path,
            metric=metric,
            defences=run.chain,
            seed=run.seed,
            draw=draw,
            every=run.sampling.every,
            limit=run.sampling.limit,
            return_undefended=run.undefended,
            timeout=run.timeout,
        )
    from scoreguard_client.clip_attack import attack_clip

    return attack_clip(
        client,
        path,
        metric=metric,
        attack=run.attack,
        defences=run.chain,
        adaptive=run.adaptive,
        seed=run.seed or 0,
        draw=draw,
        sampling=run.sampling,
        return_undefended=run.undefended,
        timeout=run.timeout,
    )


def _is_video(path: str) -> bool:
    try:
        return is_video_file(Path(path))
    except ScoreguardError:  # it is reported when it is scored
        return False


def _error(error: Exception) -> dict[str, str]:
    code, reason = getattr(error, "code", ""), getattr(error, "reason", "")
    return {"code": code, "reason": reason or type(error).__name__, "message": str(error)}


def _record(found: ClipScore | AttackedClip) -> dict[str, Any]:
    if isinstance(found, ClipScore):
        return _facts(found)
    return _facts(found.clean) | {
        "attack": found.attack,
        "attacked": _facts(found.attacked),
        "gain": found.gain,
        "l_infinity": found.l_infinity,
    }


def _facts(score: ClipScore) -> dict[str, Any]:
    provenance = score.provenance
    return {
        "score": score.score,
        "undefended_score": score.undefended_score,
        "gap": score.gap,
        "pooling": score.pooling,
        "frames": list(score.frames),
        "frame_scores": list(score.frame_scores),
        "undefended_frame_scores": list(score.undefended_frame_scores),
        "defences": format_chain(part.step for part in provenance.steps),
        "seed": provenance.seed,
        "draw": score.draw,
        "engine": provenance.engine,
        "computation": None if provenance.computation is None else asdict(provenance.computation),
        "metric_sha256": provenance.metric_sha256,
        "pool_sha256": score.pool_sha256,
        "height": provenance.height,
        "width": provenance.width,
        "timings_ms": [[timing.stage, timing.milliseconds] for timing in score.timings],
    }


def _lines(found: ClipScore | AttackedClip) -> Iterator[str]:
    if isinstance(found, ClipScore):
        yield _line(found)
        return
    yield f"clean {_line(found.clean)}"
    change = f"gain {found.gain:+.4f}, L-infinity {255 * found.l_infinity:.2f}/255"
    yield f"attacked {_line(found.attacked)}  ({change})"


def _line(score: ClipScore) -> str:
    pooling = {"temporal": "pooled by the metric", "mean": "their mean"}.get(score.pooling, "")
    several = len(score.frames) > 1
    parts = [f"{len(score.frames)} frames, {pooling}" if several else "1 frame"]
    if score.gap is not None:
        parts.append(f"undefended {score.undefended_score:.4f}, gap {score.gap:+.4f}")
    return f"{score.score:.4f}" + "".join(f"  ({part})" for part in parts)
