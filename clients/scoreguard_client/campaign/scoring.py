"""Scoring the pictures of a unit behind its chains, and putting the numbers into records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import Picture
from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client._models import FloatPicture
from scoreguard_client.attacks.regions.base import TOP
from scoreguard_client.campaign.endpoint import Answer, Endpoint, Job
from scoreguard_client.campaign.errors import CleanImageError, may_pass
from scoreguard_client.campaign.gallery import CraftedBatch, Gallery
from scoreguard_client.campaign.plan import Plan, Unit
from scoreguard_client.campaign.records import CleanScore, Record, RecordKey, is_adaptive
from scoreguard_client.oracles.base import Images
from scoreguard_client.scores.fidelity import l_infinity, like, psnr, ssim
from scoreguard_client.target.images import ImageRef

_Level = TypeVar("_Level", np.uint8, np.float32)

CleanTable = dict[tuple[str, str, int], CleanScore]
"""Clean scores by (image, chain, draw)."""
AnswerPairs = dict[RecordKey, tuple[Answer, Answer]]
"""What came back for the float and for the 8-bit form of an attacked picture."""


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """One attacked picture with what is known of it before it is scored."""

    image: ImageRef
    """The picture."""
    clean: FloatPicture
    """x in float32, (H, W, 3)."""
    exact: FloatPicture
    """x' in float32, (H, W, 3)."""
    rounded: npt.NDArray[np.uint8]
    """x' in 8 bits, (H, W, 3)."""
    crafting_score: float
    """What the attack's oracle said."""
    queries: int
    """Calls that the attack spent."""
    flags: str
    """The attack's sanity flags."""
    seconds: float
    """Share of the attack's wall time."""


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Turns crafted batches into records through the live endpoint."""

    plan: Plan
    endpoint: Endpoint
    gallery: Gallery
    draws: dict[str, int]
    """Draws by chain."""
    clean: CleanTable
    """Clean scores of every picture, chain and draw."""

    def failed(self, unit: Unit, error: Exception) -> list[Record]:
        """A record with the cause for everything that the unit should have given."""
        keys = (key for image in unit.images for key in self.keys(unit, image))
        images = {image.name: image for image in unit.images}
        cause: dict[str, object] = {"error": str(error) or type(error).__name__, "retryable": may_pass(error)}
        return [self._start(unit, images[key[0]], key, **cause) for key in keys]

    def refusal(self, unit: Unit, image: ImageRef) -> CleanImageError | None:
        """Why an image of a unit is not attacked; None where it is.

        What the server cannot score clean it cannot score attacked, and the attack may take far more than the score.
        """
        rows = (self.clean[image.name, chain, 0] for chain in dict.fromkeys((UNDEFENDED, unit.crafting)))
        failed = next((row for row in rows if row.error), None)
        return None if failed is None else CleanImageError(failed.error, retryable=failed.retryable)

    def keys(self, unit: Unit, image: ImageRef) -> list[RecordKey]:
        """Keys of every record of a picture of a unit."""
        chains = self.plan.scored_behind(unit)
        places = ((chain, draw) for chain in chains for draw in range(self.draws[chain]))
        return [(image.name, unit.attack, unit.crafting, chain, draw) for chain, draw in places]

    def records(self, unit: Unit, batch: CraftedBatch, clean: Images, done: set[RecordKey]) -> list[Record]:
        """The records of a unit that are not done yet."""
        missing = [[key for key in self.keys(unit, image) if key not in done] for image in unit.images]
        work = [(picture, keys) for picture, keys in zip(_split(unit, batch, clean), missing, strict=True) if keys]
        jobs = (self._pair_of_jobs(picture, key) for picture, keys in work for key in _with_undefended(keys))
        answers = iter(self.endpoint.score(job for pair in jobs for job in pair))
        records = []
        for picture, keys in work:
            pairs = {key: (next(answers), next(answers)) for key in _with_undefended(keys)}
            records += self._of_picture(unit, picture, keys, pairs)
        return records

    def _pair_of_jobs(self, picture: Attacked, key: RecordKey) -> tuple[Job, Job]:
        seed, chain = self._seed(key), key[3]
        exact = Job(picture=picture.exact, chain=chain, seed=seed, purified=chain != UNDEFENDED)
        return exact, Job(picture=picture.rounded, chain=chain, seed=seed)

    def _seed(self, key: RecordKey) -> int:
        # Another seed than the clean picture's: paired randomness would flatter random defences.
        return self.plan.seed_for("attacked", *key)

    def _of_picture(self, unit: Unit, picture: Attacked, keys: list[RecordKey], pairs: AnswerPairs) -> list[Record]:
        shared, undefended = _shared(picture), pairs[_undefended(keys[0])]
        self._show(unit, picture, pairs)
        return [
            self._start(unit, picture.image, key, **shared, **self._numbers(picture, key, undefended, pairs[key]))
            for key in keys
        ]

    def _numbers(
        self,
        picture: Attacked,
        key: RecordKey,
        undefended: tuple[Answer, Answer],
        defended: tuple[Answer, Answer],
    ) -> dict[str, float | str | bool | None]:
        clean = self.clean[picture.image.name, UNDEFENDED, 0]
        clean_defended = self.clean[picture.image.name, key[3], key[4]]
        purified = defended[0].purified
        sources = (clean, clean_defended, *undefended, *defended)
        failed = next((source for source in sources if source.error), None)
        return {
            "clean_score": clean.score,
            "clean_defended": clean_defended.score,
            "attacked_score": undefended[0].score,
            "attacked_score_8bit": undefended[1].score,
            "attacked_defended": defended[0].score,
            "attacked_defended_8bit": defended[1].score,
            **fidelity_of_purified(picture.clean, picture.exact if key[3] == UNDEFENDED else purified),
            "scoring_seconds": defended[0].seconds,
            "metric_sha256": defended[0].metric_sha256,
            "steps_sha256": defended[0].steps_sha256,
            "engine": defended[0].engine,
            "error": "" if failed is None else failed.error,
            "retryable": failed is not None and failed.retryable,
        }

    def _show(self, unit: Unit, picture: Attacked, pairs: AnswerPairs) -> None:
        name = picture.image.name
        self.gallery.show(name, picture.rounded, attack=unit.attack, crafting=unit.crafting)
        for (_, _, _, chain, draw), (answer, _) in pairs.items():
            if answer.purified is not None and draw == 0:
                self.gallery.show(name, answer.purified, attack=unit.attack, crafting=unit.crafting, chain=chain)

    def _start(self, unit: Unit, image: ImageRef, key: RecordKey, **numbers: object) -> Record:
        return Record(
            image=image.name,
            attack=unit.attack,
            crafting=unit.crafting,
            chain=key[3],
            draw=key[4],
            image_sha256=image.sha256,
            metric=self.plan.metric,
            adaptive=is_adaptive(unit.crafting),
            seed=self._seed(key),
            **numbers,  # type: ignore[arg-type]
        )


def fidelity_of_purified(clean: Picture | None, purified: FloatPicture | None) -> dict[str, float | None]:
    """PSNR and SSIM of a purified picture against the clean one; None where one of them is missing."""
    if clean is None or purified is None:
        return {"purified_psnr": None, "purified_ssim": None}
    reference = unit_values(clean)
    same_size = like(reference, purified)
    return {"purified_psnr": psnr(reference, same_size), "purified_ssim": ssim(reference, same_size)}


def unit_values(picture: Picture) -> FloatPicture:
    """A picture as float32 in [0, 1]."""
    scale = TOP if picture.dtype == np.uint8 else 1
    return np.asarray(picture / np.float32(scale), dtype=np.float32)


def _undefended(key: RecordKey) -> RecordKey:
    image, attack, crafting, _, _ = key
    return (image, attack, crafting, UNDEFENDED, 0)


def _with_undefended(keys: list[RecordKey]) -> list[RecordKey]:
    # Every record states f(x') as well, so that score is taken whether or not `none` is among the chains.
    return list(dict.fromkeys([_undefended(keys[0]), *keys]))


def _shared(picture: Attacked) -> dict[str, float | int | str]:
    clean = picture.clean
    return {
        "psnr": psnr(clean, picture.exact),
        "ssim": ssim(clean, picture.exact),
        "l_inf": l_infinity(clean, picture.exact),
        "l_inf_8bit": l_infinity(clean, unit_values(picture.rounded)),
        "crafting_score": picture.crafting_score,
        "changed_pixels": int((clean != picture.exact).any(axis=-1).sum()),
        "queries": picture.queries,
        "flags": picture.flags,
        "crafting_seconds": picture.seconds,
    }


def _split(unit: Unit, batch: CraftedBatch, clean: Images) -> Iterable[Attacked]:
    for number, image in enumerate(unit.images):
        yield Attacked(
            image=image,
            clean=_to_hwc(clean[number]),
            exact=_to_hwc(batch.attacked[number]),
            rounded=_to_hwc(batch.attacked_8bit[number]),
            crafting_score=float(batch.scores[number]),
            queries=int(batch.queries[number]),
            flags=batch.flags[number],
            seconds=batch.seconds / len(unit.images),
        )


def _to_hwc(picture: npt.NDArray[_Level]) -> npt.NDArray[_Level]:
    return np.ascontiguousarray(picture.transpose(1, 2, 0))


def clean_jobs(plan: Plan, names: Sequence[tuple[str, str, int]], pictures: dict[str, Picture]) -> list[Job]:
    """Jobs that score clean pictures."""
    return [
        Job(
            picture=pictures[image],
            chain=chain,
            seed=plan.seed_for("clean", image, chain, draw),
            purified=chain != UNDEFENDED,
        )
        for image, chain, draw in names
    ]
