"""Turn options into a training: find the teacher, read the images, complete the recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client._client import ScoringClient
from scoreguard_client.attacks.base import Direction, Mode
from scoreguard_client.oracles.computing import DEFAULTS, Computing
from scoreguard_client.perturbations.artifact import SUFFIX as FILE_SUFFIX
from scoreguard_client.perturbations.artifact import UniversalPerturbation
from scoreguard_client.perturbations.errors import RecipeError
from scoreguard_client.perturbations.recipe import DEFAULTS as OF_KIND
from scoreguard_client.perturbations.recipe import Kind, Recipe
from scoreguard_client.progress import Progress
from scoreguard_client.target.chains import complete_chains
from scoreguard_client.target.gradients import Gradients, computation_for, surrogate_for
from scoreguard_client.target.images import find_images
from scoreguard_client.universal.crops import TrainingImages
from scoreguard_client.universal.teacher import Teacher, live_teacher, local_teacher
from scoreguard_client.universal.training import CHECKPOINT_EVERY, Training


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The user's options."""

    kind: Kind
    """How the perturbation is trained."""
    metric: str = "lite"
    """Name of the metric to train against."""
    images: Path
    """Folder of training images."""
    out: Path
    """The file to write."""
    mode: Mode = Mode.PAPER
    """Which variant of the method runs."""
    direction: Direction = Direction.UP
    """Direction in which to drive the quality."""
    chain: str = UNDEFENDED
    """The defences to train through, in their text form."""
    gradients: Gradients | None = None
    """Source of gradients; None = local if there is a surrogate, else live."""
    surrogate: Path | None = None
    """Archive or model store; None = `model_store` if present."""
    epochs: int | None = None
    """Passes over the images; None = the benchmark's for this kind."""
    batch: int = 8
    """Images per step."""
    size: int = 256
    """Height and width of the perturbation and of the training crops."""
    bound: float | None = None
    """Largest absolute value; None = the benchmark's for this kind."""
    rate: float | None = None
    """Length of a step or learning rate; None = the kind's own."""
    channels: int = 64
    """Channels of the generator's first layer."""
    draws: int = 1
    """Draws per query through a random chain."""
    computing: Computing = DEFAULTS
    """Device and settings of local gradients."""
    limit: int | None = None
    """Use at most this many images, in name order; None = all."""
    seed: int = 0
    """Seed for all randomness."""
    checkpoint_every: int = CHECKPOINT_EVERY
    """Steps between checkpoints."""


def train(
    options: TrainingOptions, client: ScoringClient, progress_for: Callable[[Training], Progress]
) -> UniversalPerturbation:
    """Train a perturbation, or resume its training.

    Args:
        options: what to do.
        client: the connection to the endpoint; not used if gradients are local.
        progress_for: called once the recipe is fixed; returns the progress callback.

    Raises:
        RecipeError: the options do not fit together.
        PlanError: local gradients were chosen and there is no archive, or a chain or the folder does not fit.
        CheckpointError: an existing file belongs to another training, or is damaged.
        ScoreguardError: an image, the surrogate or the server cannot be used; finished work is kept.
        ContractError: the chain or the archive cannot be read.
    """
    if options.out.suffix != FILE_SUFFIX:
        raise RecipeError(f"--out must end in {FILE_SUFFIX}, not {options.out.name}")
    teacher = _teacher(options, client)
    found = find_images(options.images, options.limit)
    images = TrainingImages(folder=options.images, references=found.images)
    training = Training(
        recipe=_recipe(options, teacher, images),
        images=images,
        teacher=teacher,
        out=options.out,
        checkpoint_every=options.checkpoint_every,
        left_out=found.left_out,
    )
    return training.run(progress_for(training))


def _recipe(options: TrainingOptions, teacher: Teacher, images: TrainingImages) -> Recipe:
    defaults = OF_KIND[options.kind]
    rate = defaults.benchmark_rate if options.mode is Mode.BENCHMARK else defaults.rate
    return Recipe(
        kind=options.kind.value,
        mode=options.mode.value,
        direction=options.direction.value,
        metric=teacher.facts.metric,
        source=teacher.source,
        chain=teacher.chain,
        draws=teacher.draws,
        images=len(images.references),
        images_sha256=images.sha256,
        epochs=options.epochs or defaults.epochs,
        batch=options.batch,
        size=options.size,
        bound=options.bound or defaults.bound,
        rate=options.rate or rate,
        channels=options.channels,
        seed=options.seed,
        computation=str(teacher.computation),
    )


def _teacher(options: TrainingOptions, client: ScoringClient) -> Teacher:
    archive = surrogate_for(options.metric, options.gradients, options.surrogate)
    computation = computation_for(options.computing, archive)
    if archive is None:
        return _live(options, client)
    return local_teacher(archive, options.chain, draws=options.draws, computation=computation)


def _live(options: TrainingOptions, client: ScoringClient) -> Teacher:
    catalogue = client.list_metrics()
    if not catalogue.gradients:
        raise RecipeError("this server gives no gradients; start it with gradients, or give --surrogate")
    metric = catalogue.metric(options.metric)
    (chain,) = complete_chains([parse_chain(options.chain)], metric)
    return live_teacher(client, metric, chain, draws=options.draws)
