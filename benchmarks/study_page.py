"""The page of `study.py`: every number from the ledgers of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign import Ledger, Record
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import CleanScore
from scoreguard_client.report.naming import attack_names
from scoreguard_client.scores.agreement import srocc
from scoreguard_client.scores.purification import purification_gain, quality_score

CLEAN = "clean"
"""The line of the clean images in the tables by attack."""
PUBLISHED_GAIN = {
    "flip": 0.077,
    "diffpure-unsharp": 0.082,
    "diffpure": 0.093,
    "jpeg": 0.099,
    "resize": 0.099,
}
"""Gain in Table 1 of the study (Linearity), as far as it is known here. Its rows of JPEG and Resize are equal in five
columns, so one of them is a copy."""
PUBLISHED_SROCC = {"diffpure-unsharp": 0.750, "diffpure": 0.746, "bilateral": 0.731, "flip": 0.728}
PUBLISHED_QUALITY = {"mprnet": 0.653, "unsharp": 0.649, "diffpure-edge": 0.640, "bilateral": 0.594}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One attack behind one chain: a value for each image, draws averaged."""

    images: tuple[str, ...]
    clean: np.ndarray
    """f(x)."""
    served_clean: np.ndarray
    """f(g(x))."""
    served: np.ndarray
    """f(g(x'))."""
    ssim: np.ndarray
    """SSIM of the purified image against x."""
    psnr: np.ndarray
    """PSNR of the purified image against x."""

    @property
    def gain(self) -> float:
        """The study's Gain."""
        return purification_gain(self.clean, self.served)

    @property
    def srocc(self) -> float:
        """The study's SROCC."""
        return srocc(self.clean, self.served)

    @property
    def quality(self) -> float:
        """The study's Quality; NaN where a purified image equals x to the bit, whose PSNR is infinite."""
        return quality_score(self.ssim, self.psnr)

    @property
    def raised(self) -> float:
        """Mean rise of the served score, in points."""
        return float((self.served - self.served_clean).mean())

    def only(self, images: frozenset[str]) -> Cell:
        """Leave out other images."""
        kept = [index for index, image in enumerate(self.images) if image in images]
        rows = {name: getattr(self, name)[kept] for name in ("clean", "served_clean", "served", "ssim", "psnr")}
        return Cell(images=tuple(self.images[index] for index in kept), **rows)


Cells = dict[tuple[str, str], Cell]
"""By attack and chain."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a campaign found."""

    plan: Plan
    labels: Mapping[str, str]
    unaware: Cells
    adaptive: Cells
    milliseconds: Mapping[str, float]
    """Median time of a served score by chain."""

    def chains(self) -> list[str]:
        """The chains with a defence."""
        return [chain for chain in self.plan.metrics[0].chains if chain != UNDEFENDED]

    def attacks(self) -> list[str]:
        """The attacks."""
        return [attack for attack in self.plan.attacks if any(key[0] == attack for key in self.unaware)]


def read(run: Path) -> Run:
    """Read a run."""
    with Ledger.open(run) as ledger:
        plan, facts, records, clean = ledger.plan, ledger.facts, ledger.records(), ledger.clean()
    good = [record for record in records if not record.error]
    unaware = cells(record for record in good if not record.adaptive)
    unaware |= {(CLEAN, chain): cell for chain, cell in clean_cells(clean, plan).items()}
    times: dict[str, list[float]] = {}
    for record in good:
        times.setdefault(record.chain, []).append(record.scoring_seconds or 0.0)
    return Run(
        plan=plan,
        labels=facts["metrics"][plan.metrics[0].name]["labels"],
        unaware=unaware,
        adaptive=cells(record for record in good if record.adaptive),
        milliseconds={chain: 1000 * float(np.median(seconds)) for chain, seconds in times.items()},
    )


def cells(records: Iterable[Record]) -> Cells:
    """Group records by attack and chain."""
    grouped: dict[tuple[str, str], dict[str, list[tuple[float, ...]]]] = {}
    for record in records:
        numbers = (
            record.clean_score,
            record.clean_defended,
            record.attacked_defended,
            record.purified_ssim,
            record.purified_psnr,
        )
        rows = grouped.setdefault((record.attack, record.chain), {})
        rows.setdefault(record.image, []).append(tuple(np.nan if number is None else number for number in numbers))
    return {key: cell_of(rows) for key, rows in grouped.items()}


def clean_cells(scores: Sequence[CleanScore], plan: Plan) -> dict[str, Cell]:
    """The clean images behind each chain, as if an attack had changed nothing."""
    undefended = {score.image: score.score for score in scores if score.chain == UNDEFENDED}
    grouped: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for score in scores:
        if score.error or score.score is None or score.chain == UNDEFENDED:
            continue
        clean = undefended[score.image]
        numbers = (clean, score.score, score.score, score.purified_ssim, score.purified_psnr)
        rows = grouped.setdefault(score.chain, {})
        rows.setdefault(score.image, []).append(tuple(np.nan if number is None else number for number in numbers))
    return {chain: cell_of(rows) for chain, rows in grouped.items()}


def cell_of(rows: Mapping[str, Sequence[tuple[float, ...]]]) -> Cell:
    """Average the draws of each image."""
    images = tuple(sorted(rows))
    clean, served_clean, served, ssim, psnr = np.array([np.mean(rows[image], axis=0) for image in images]).T
    return Cell(images=images, clean=clean, served_clean=served_clean, served=served, ssim=ssim, psnr=psnr)


@dataclass(frozen=True, kw_only=True)
class Study:
    """The runs together."""

    simple: Run
    learned: Run
    adaptive: Run

    @property
    def common(self) -> frozenset[str]:
        """The images that both unaware runs have behind every chain."""
        sets = [frozenset(cell.images) for run in (self.simple, self.learned) for cell in run.unaware.values()]
        return frozenset.intersection(*sets)

    @property
    def attacks(self) -> list[str]:
        """The study's attacks that both unaware runs have."""
        theirs = self.learned.attacks()
        return [attack for attack in self.simple.attacks() if attack in theirs]


def write(runs: Path, out: Path) -> None:
    """Write the page, and the figures that it shows into a folder beside it."""
    study = Study(simple=read(runs / "unaware"), learned=read(runs / "learned"), adaptive=read(runs / "adaptive"))
    names = attack_names([*study.simple.plan.attacks, *study.learned.plan.attacks]) | {CLEAN: "clean images"}
    text = (Path(__file__).parent / "study_page.md").read_text(encoding="utf-8")
    tables = {
        "table1": table_1(study),
        "gain": by_attack(study, names, "gain"),
        "srocc": by_attack(study, names, "srocc"),
        "adaptive": twins(study.adaptive, names),
        "free": everyday(study.simple, names),
        "ordering": ordering(study),
    }
    for name, lines in tables.items():
        text = text.replace(f"@{name}@", "\n".join(lines))
    out.write_text(text, encoding="utf-8")


def chains_of(study: Study) -> list[tuple[Run, str]]:
    """The defences of both runs, each with its run."""
    return [(run, chain) for run in (study.simple, study.learned) for chain in run.chains()]


def mean_over_attacks(run: Run, chain: str, attacks: Sequence[str], score: str, images: frozenset[str]) -> float:
    """A score of a defence as Table 1 has it: the mean over attacks, the clean images among them."""
    found = [run.unaware[attack, chain].only(images) for attack in (CLEAN, *attacks)]
    return float(np.nanmean([getattr(cell, score) for cell in found]))


def table_1(study: Study) -> list[str]:
    """Gain, SROCC, Quality and time of each defence, over its own images and over the common ones."""
    lines = ["| defence | images | Gain | SROCC | Quality | ms | Gain, common images | Gain in the study |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for run, chain in chains_of(study):
        own = frozenset(run.unaware[CLEAN, chain].images)
        label = run.labels.get(chain, chain)
        numbers = [mean_over_attacks(run, chain, study.attacks, score, own) for score in ("gain", "srocc", "quality")]
        common = mean_over_attacks(run, chain, study.attacks, "gain", study.common)
        theirs = f"{PUBLISHED_GAIN[label]:.3f}" if label in PUBLISHED_GAIN else ""
        cells_ = " | ".join(f"{number:.3f}" for number in numbers)
        lines.append(f"| `{label}` | {len(own)} | {cells_} | {run.milliseconds[chain]:.0f} | {common:.3f} | {theirs} |")
    return lines


def by_attack(study: Study, names: Mapping[str, str], score: str) -> list[str]:
    """A score of each attack (lines) behind each defence (columns)."""
    columns = chains_of(study)
    lines = ["| attack | " + " | ".join(f"`{run.labels.get(chain, chain)}`" for run, chain in columns) + " |"]
    lines.append("|" + "---|" * (len(columns) + 1))
    for attack in (CLEAN, *dict.fromkeys([*study.attacks, *study.learned.attacks()])):
        found = [run.unaware.get((attack, chain)) for run, chain in columns]
        texts = (f"{getattr(cell, score):.2f}" if cell else "" for cell in found)
        lines.append(f"| {names[attack]} | " + " | ".join(texts) + " |")
    return lines


def twins(run: Run, names: Mapping[str, str]) -> list[str]:
    """Mean rise of the served score by an attack that knows the defence, and by one that does not."""
    lines = ["| defence | " + " | ".join(names[attack] for attack in run.attacks()) + " |"]
    lines.append("|" + "---|" * (len(run.attacks()) + 1))
    for chain in run.chains():
        texts = []
        for attack in run.attacks():
            aware, unaware = run.adaptive.get((attack, chain)), run.unaware.get((attack, chain))
            texts.append(f"{aware.raised:+.2f} ({unaware.raised:+.2f})" if aware and unaware else "")
        lines.append(f"| `{run.labels.get(chain, chain)}` | " + " | ".join(texts) + " |")
    return lines


def everyday(run: Run, names: Mapping[str, str]) -> list[str]:
    """Mean rise of the served score by everyday edits."""
    edits = [attack for attack in run.attacks() if kind_of(attack).name.startswith("free-")]
    lines = ["| defence | " + " | ".join(names[attack] for attack in edits) + " |"]
    lines.append("|" + "---|" * (len(edits) + 1))
    for chain in (UNDEFENDED, *run.chains()):
        found = [run.unaware[attack, chain] for attack in edits]
        lines.append(f"| `{run.labels.get(chain, chain)}` | " + " | ".join(f"{c.raised:+.2f}" for c in found) + " |")
    return lines


def ordering(study: Study) -> list[str]:
    """Rank correlations of our order of defences with the study's, over the defences whose value is known."""
    lines = ["| score | defences | rank correlation | our order | the study's |", "|---|---|---|---|---|"]
    published = {"gain": PUBLISHED_GAIN, "srocc": PUBLISHED_SROCC, "quality": PUBLISHED_QUALITY}
    for score, theirs in published.items():
        ours = {
            run.labels.get(chain, chain): mean_over_attacks(run, chain, study.attacks, score, study.common)
            for run, chain in chains_of(study)
        }
        both = [label for label in theirs if label in ours]
        agreement = stats.spearmanr([ours[label] for label in both], [theirs[label] for label in both]).statistic
        best_first = -1 if score != "gain" else 1
        orders = (sorted(both, key=lambda label: best_first * table[label]) for table in (ours, theirs))
        texts = (" < ".join(f"`{label}`" for label in order) for order in orders)
        lines.append(f"| {score} | {len(both)} | {agreement:.2f} | " + " | ".join(texts) + " |")
    return lines
