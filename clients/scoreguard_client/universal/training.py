"""Training of a universal perturbation: seeded, and resumable after every few steps.

The recipe's seed and the number of the step determine the step's batch, its windows and flips, the draws of a random
defence and the dropout of a network. A killed training resumes from its last checkpoint and ends with the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoreguard.chain.devices import CPU
from scoreguard.support.whole_files import unfinished_path
from scoreguard_client.attacks.base import Direction
from scoreguard_client.attacks.errors import OracleAnswerError
from scoreguard_client.oracles.arrays import functions, is_host, on_host
from scoreguard_client.oracles.base import Gradients, Images, Scores
from scoreguard_client.oracles.seeds import derive_seed
from scoreguard_client.perturbations.artifact import (
    UniversalPerturbation,
    load_perturbation,
    read_safetensors,
    save_perturbation,
    write_safetensors,
)
from scoreguard_client.perturbations.errors import CheckpointError, PerturbationError, RecipeError
from scoreguard_client.perturbations.recipe import Kind, Recipe
from scoreguard_client.progress import Progress
from scoreguard_client.target.images import LeftOut
from scoreguard_client.universal.crops import TrainingImages
from scoreguard_client.universal.cumulative import CumulativeLearner
from scoreguard_client.universal.generative import GenerativeLearner
from scoreguard_client.universal.learner import Learner
from scoreguard_client.universal.momentum import MomentumLearner
from scoreguard_client.universal.optimized import OptimizedLearner
from scoreguard_client.universal.teacher import Teacher

LEARNERS: Final[Mapping[str, type[Learner]]] = {
    Kind.CUMULATIVE: CumulativeLearner,
    Kind.OPTIMIZED: OptimizedLearner,
    Kind.GENERATIVE: GenerativeLearner,
    Kind.MOMENTUM: MomentumLearner,
}
"""Kind -> training."""
CHECKPOINT_EVERY: Final = 25
"""Steps between checkpoints; the weights and moments of the generator at 256 x 256 take about 650 MB."""
LOOK_EVERY: Final = 10
"""Steps on a device between two looks at its answers."""
_PAPER_BATCHES: Final = 1
_BENCHMARK_BATCHES: Final = 2
_WINDOWS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Training:
    """A recipe with all that it needs."""

    recipe: Recipe
    """The recipe of the perturbation."""
    images: TrainingImages
    """The training images."""
    teacher: Teacher
    """The source of gradients."""
    out: Path
    """File of the perturbation; the checkpoint is next to it."""
    checkpoint_every: int = CHECKPOINT_EVERY
    """Steps between checkpoints."""
    left_out: tuple[LeftOut, ...] = ()
    """Files of the image folder that cannot be read."""

    @property
    def checkpoint(self) -> Path:
        """The file from which a killed training resumes; deleted once the training is done."""
        return self.out.with_name(self.out.name + ".training")

    def run(self, progress: Progress) -> UniversalPerturbation:
        """Train, resume, or return the existing result.

        Raises:
            RecipeError: benchmark mode needs images that the teacher cannot score.
            CheckpointError: an existing file belongs to another training, or is damaged.
            OracleAnswerError: a gradient is not finite.
            ScoreguardError: an image was changed, or the teacher failed; finished work is kept.
        """
        if self.out.exists():
            progress(self.recipe.steps, "done before")
            return self._finished()
        learner = LEARNERS[self.recipe.kind](self.recipe, self.teacher.put)
        if not learner.clips and not self.teacher.beyond:
            raise RecipeError("cumulative in benchmark mode asks about values beyond [0, 1]: give a --surrogate")
        first = self._restore(learner)
        progress(first, "")
        answers = Answers()
        for step in range(first, self.recipe.steps):
            with self.teacher.settings():
                self._step(learner, step, answers)
            keep = (step + 1) % self.checkpoint_every == 0
            progress(1, answers.told(keep or step + 1 == self.recipe.steps))
            if keep:
                self._keep(learner, step + 1)
        result = save_perturbation(self.out, learner.final(), self.recipe, self._computation())
        self._tidy()
        return result

    def _step(self, learner: Learner, step: int, answers: Answers) -> None:
        recipe = self.recipe
        clean = self.teacher.put(self._shown(learner, step))
        moved = clean + learner.perturbation(step)
        shown = functions(moved).clip(moved, 0, 1) if learner.clips else moved
        scores, gradients = self.teacher.ask(shown, derive_seed(recipe.seed, "oracle", step))
        answers.add(scores, gradients)
        learner.learn(self._objective(gradients, moved))

    def _computation(self) -> dict[str, Any] | None:
        """Return what the file says of the device; the CPU's files are those of versions that knew no other."""
        computation = self.teacher.computation
        return None if self.recipe.computation == CPU else computation.record(self.teacher.unrepeatable())

    def _shown(self, learner: Learner, step: int) -> Images:
        recipe, indices = self.recipe, batch_indices(self.recipe, step)
        if learner.augments:
            rng = np.random.default_rng([recipe.seed, _WINDOWS, step])
            return self.images.windows(indices, recipe.size, rng)
        return self.images.crops(indices, recipe.size, benchmark=recipe.as_benchmark)

    def _objective(self, gradients: Gradients, moved: Images) -> Gradients:
        facts = self.teacher.facts
        sign = facts.sign * (1.0 if self.recipe.direction == Direction.UP else -1.0)
        scaled = gradients * float(np.float32(sign / facts.span))
        if self.recipe.as_benchmark:
            return scaled  # Straight through the cut.
        library = functions(scaled)
        objective: Gradients = library.where((moved >= 0) & (moved <= 1), scaled, library.zeros_like(scaled))
        return objective

    def _finished(self) -> UniversalPerturbation:
        try:
            found = load_perturbation(self.out)
        except PerturbationError as error:
            raise CheckpointError(f"{error}; choose another --out") from error
        self._require_ours(found.recipe, self.out)
        self._tidy()
        return found

    def _restore(self, learner: Learner) -> int:
        if not self.checkpoint.exists():
            return 0
        try:
            state, facts = read_safetensors(self.checkpoint.read_bytes())
            recipe, step = Recipe.from_dict(facts["recipe"]), int(facts["step"])
        except (OSError, ValueError, KeyError, TypeError, RecipeError) as error:
            raise self._damaged() from error
        self._require_ours(recipe, self.checkpoint)
        try:
            learner.restore(state)
        except (ValueError, KeyError, RuntimeError) as error:
            raise self._damaged() from error
        return step

    def _tidy(self) -> None:
        for path in (self.checkpoint, unfinished_path(self.checkpoint)):
            path.unlink(missing_ok=True)

    def _damaged(self) -> CheckpointError:
        return CheckpointError(f"{self.checkpoint} is not a checkpoint of a training: delete it to start afresh")

    def _require_ours(self, recipe: Recipe | None, path: Path) -> None:
        if recipe is None:
            raise CheckpointError(f"{path} already exists and carries no training record; choose another --out")
        if recipe != self.recipe:
            differences = recipe.differences(self.recipe)
            raise CheckpointError(f"{path} belongs to another training ({differences}); choose another --out")

    def _keep(self, learner: Learner, step: int) -> None:
        facts = {"recipe": self.recipe.as_dict(), "step": step}
        try:
            write_safetensors(self.checkpoint, learner.state(), facts)
        except OSError as error:
            raise CheckpointError(f"cannot write {self.checkpoint}: {error.strerror or error}") from error


def batch_indices(recipe: Recipe, step: int) -> npt.NDArray[np.intp]:
    """Return the indices of the images that a step sees.

    In paper mode an epoch passes once over all images in its own order. The benchmark starts a new shuffled pass at
    every step and takes its first batch, so its epochs may miss images and see others several times.
    """
    epoch, index = divmod(step, recipe.steps_per_epoch)
    if recipe.as_benchmark:
        rng = np.random.default_rng([recipe.seed, _BENCHMARK_BATCHES, step])
        return rng.permutation(recipe.images)[: recipe.batch]
    rng = np.random.default_rng([recipe.seed, _PAPER_BATCHES, epoch])
    return rng.permutation(recipe.images)[index * recipe.batch : (index + 1) * recipe.batch]


class Answers:
    """The teacher's answers that were not looked at yet: on a device several steps pass before one waits for it."""

    def __init__(self) -> None:
        self._finite: list[Any] = []
        self._scores: Scores | None = None
        self._text = ""

    def add(self, scores: Scores, gradients: Gradients) -> None:
        """Take the answers of a step; on the host they are looked at now.

        Raises:
            OracleAnswerError: a gradient is not finite.
        """
        library = functions(gradients)
        self._finite.append(library.all(library.isfinite(gradients), axis=(1, 2, 3)))
        self._scores = scores
        if is_host(gradients):
            self._look()

    def told(self, now: bool) -> str:
        """Return the last mean score that is known, in words.

        Args:
            now: whether to wait for the device, as before anything is written.

        Raises:
            OracleAnswerError: a gradient is not finite.
        """
        if now or len(self._finite) >= LOOK_EVERY:
            self._look()
        return self._text

    def _look(self) -> None:
        if self._finite:
            first, *later = self._finite
            # One copy for all steps, since each copy waits.
            known = on_host(functions(first).concat(self._finite) if later else first)
            for finite in np.split(known, np.cumsum([len(step) for step in self._finite])[:-1]):
                if not finite.all():
                    raise OracleAnswerError("gradient", np.flatnonzero(~finite).tolist())
            self._finite.clear()
        if self._scores is not None:
            self._text = f"score {float(np.mean(on_host(self._scores))):.4g}"
            self._scores = None
