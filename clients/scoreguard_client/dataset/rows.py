"""The table of a data set: a row for each attacked image, with its scores behind every chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from scoreguard.v1.codec import ImageArray
from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.attacks.catalogue import kind_of, parse_attack
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.naming import attack_names
from scoreguard_client.report.table import sound
from scoreguard_client.scores.fidelity import l_infinity, psnr, ssim
from scoreguard_client.target.images import ImageRef, unit_values

Cell = str | float | int | bool | None
Row = Mapping[str, Cell]
"""A row by column; None where there is no value."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the table."""

    name: str
    """Its name."""
    kind: str
    """`string`, `float64`, `int64` or `bool`."""
    meaning: str
    """One sentence."""


_FIXED: Final = (
    Column(name="file_name", kind="string", meaning="File of the attacked image, PNG in 8 bits."),
    Column(name="clean_file_name", kind="string", meaning="File of the clean image, byte for byte as it was attacked."),
    Column(name="image_name", kind="string", meaning="Name of the clean image in the campaign."),
    Column(name="metric", kind="string", meaning="The metric that was attacked."),
    Column(name="attack", kind="string", meaning="The attack with every parameter."),
    Column(name="attack_name", kind="string", meaning="The attack in prose."),
    Column(
        name="attacked_through", kind="string", meaning="The chain that the attack worked through; none = no chain."
    ),
    Column(name="adaptive", kind="bool", meaning="Whether the attack knew a chain."),
    Column(name="budget", kind="string", meaning="What bounds the change."),
    Column(name="eps", kind="float64", meaning="Radius in L∞, in units of [0, 1]; empty if the attack has none."),
    Column(name="min_ssim", kind="float64", meaning="Smallest SSIM; empty if the attack has none."),
    Column(name="seed", kind="int64", meaning="Seed of the campaign."),
    Column(name="psnr", kind="float64", meaning="PSNR of the file against the clean image, in dB."),
    Column(name="ssim", kind="float64", meaning="SSIM of the file against the clean image."),
    Column(
        name="l_inf_8bit", kind="float64", meaning="Largest difference of the file from the clean image, of [0, 1]."
    ),
    Column(name="queries", kind="int64", meaning="Calls that the attack spent on the image."),
    Column(
        name="flags", kind="string", meaning="Signs that the result should not be taken at face value; empty = none."
    ),
    Column(name="sha256", kind="string", meaning="SHA-256 of the file."),
    Column(name="clean_sha256", kind="string", meaning="SHA-256 of the clean image's file."),
)


@dataclass(frozen=True, kw_only=True)
class AttackedImage:
    """One attacked image with its records."""

    image: ImageRef
    """The clean image."""
    metric: str
    """The metric."""
    attack: str
    """The attack in its text form."""
    attacked_through: str
    """The chain that it worked through."""
    records: tuple[Record, ...]
    """Those that did not fail."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows."""

    columns: tuple[Column, ...]
    """The columns."""
    rows: tuple[Row, ...]
    """The rows."""


def attacked_images(plan: Plan, records: Iterable[Record]) -> list[AttackedImage]:
    """Return what a run has attacked, in the order of its plan; degraded copies are no attacks, and are left out."""
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in map(sound, records):
        if not record.error:
            groups.setdefault((record.metric, record.attack, record.attacked_through, record.image), []).append(record)
    return [
        AttackedImage(
            image=image, metric=unit.metric, attack=str(unit.attack), attacked_through=unit.attacked_through, records=of
        )
        for unit in plan.units()
        if not unit.attack.is_degradation
        for image in unit.images
        if (of := tuple(groups.get((unit.metric, str(unit.attack), unit.attacked_through, image.name), ())))
    ]


class TableMaker:
    """Makes the rows of a table."""

    def __init__(self, plan: Plan, facts: Mapping[str, Any]) -> None:
        """Name the columns of a run's chains."""
        self._plan, self._names = plan, attack_names(plan.attacks)
        self._labels = chain_labels(plan, facts)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns: fixed ones, then the clean and attacked scores behind each chain."""
        pairs = (
            Column(name=f"{of}[{label}]", kind="float64", meaning=f"Score of the {of} image behind {label}.")
            for label in self._labels.values()
            for of in ("clean", "attacked")
        )
        return (*_FIXED, *pairs)

    def row(
        self, attacked: AttackedImage, levels: ImageArray, clean: ImageArray, files: Mapping[str, str]
    ) -> dict[str, Cell]:
        """Return the row of an attacked image.

        Args:
            attacked: the image and its records.
            levels: what is in its file, (H, W, 3).
            clean: what is in the clean image's file.
            files: both files and their digests, by column.
        """
        first, attack = attacked.records[0], parse_attack(attacked.attack)
        reference, image = unit_values(clean), unit_values(levels)
        known: dict[str, Cell] = {
            **files,
            "image_name": attacked.image.name,
            "metric": attacked.metric,
            "attack": attacked.attack,
            "attack_name": self._names[attacked.attack],
            "attacked_through": attacked.attacked_through,
            "adaptive": first.adaptive,
            "budget": kind_of(attacked.attack).budget,
            "eps": getattr(attack, "eps", None),
            "min_ssim": getattr(attack, "min_ssim", None),
            "seed": self._plan.seed,
            "psnr": psnr(reference, image),
            "ssim": ssim(reference, image),
            "l_inf_8bit": l_infinity(reference, image),
            "queries": first.queries,
            "flags": first.flags,
        }
        scores = {
            f"{of}[{label}]": score
            for chain, label in self._labels.items()
            for of, score in zip(("clean", "attacked"), _scores(attacked.records, chain), strict=True)
        }
        return {column.name: (known | scores).get(column.name) for column in self.columns}


def chain_labels(plan: Plan, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return a short name for each chain of a plan, as the user wrote it, or its full form if two have one name."""
    chains = dict.fromkeys([UNDEFENDED, *(chain for metric in plan.metrics for chain in metric.chains)])
    labels = {chain: label for metric in plan.names for chain, label in facts["metrics"][metric]["labels"].items()}
    short = {chain: labels.get(chain, chain) for chain in chains}
    return {chain: label if list(short.values()).count(label) == 1 else chain for chain, label in short.items()}


def _scores(records: Sequence[Record], chain: str) -> tuple[float | None, float | None]:
    """Return f(g(x)) and f(g(x')) of the 8-bit image behind a chain, means over draws; None without a record."""
    if chain == UNDEFENDED:
        pairs = [(record.clean_score, record.attacked_score_8bit) for record in records[:1]]
    else:
        pairs = [(r.clean_defended, r.attacked_defended_8bit) for r in records if r.chain == chain]
    if not pairs:
        return None, None
    clean, attacked = np.array(pairs, dtype=np.float64).mean(axis=0)
    return float(clean), float(attacked)
