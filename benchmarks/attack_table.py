r"""Run every attack against the live endpoint, undefended and behind three defences: the table of docs/attacks.md.

    python benchmarks/attack_table.py --images nips2017 --images avt_ai_images --training photos \
        --weights nima=nima_mobilenet_technical.pt

Attacks images that no metric was trained on (`unseen.py`): what is left of `--images`, or exactly the images of
`--list`, which must not contain a training image. The universal perturbations are trained on other images.

Builds the archives, trains the universal perturbations on other images, starts the service on a free port, runs one
campaign for each metric (each attack also knowing each defence), and prints the tables as Markdown. Everything is kept
in the working folder: rerun the same command to resume.

Iterated attacks that take hundreds of steps in their papers run with fewer steps here, to finish within an hour or two
on two cores. The parameters are in the first column of each run's `report/table.csv`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import PIL.Image
from unseen import LIST, choose, refuse_seen

from scoreguard.chain.devices import DEVICE_HELP
from scoreguard_client.attacks import CATALOGUE
from scoreguard_client.report import Report, TableOptions, make_report
from scoreguard_client.report.table import Row
from scoreguard_client.report.text import interval, value

DEFENCES: Final = "none,blur,resize,jpeg:quality=50"
UNIVERSAL: Final = {
    "cumulative": "--epochs 10",
    "optimized": "--epochs 10",
    "generative": "--epochs 5 --batch 4 --channels 32",
    "momentum": "",
}
AUTO: Final = "auto:iterations=15:restarts=1:pushes=15:queries=30"
"""The strongest known attack on each chain leads the table."""
GRADIENT: Final = (
    "fgsm,ifgsm,mifgsm,amifgsm:k=0.125,korhonen:iterations=20,ssah:mode=benchmark,madc,zhang-ssim:mode=benchmark,"
    "advcf:iterations=15,pgd:restarts=1,apgd:iterations=25,mpgd:iterations=25,dct-threshold:iterations=15,ioi"
)
BLACK_BOX: Final = (
    "square:queries=100,nes:queries=100,spsa:queries=100:pairs=16,simba:queries=100,"
    "onepixel:queries=100:population=25,patch-rs:queries=100"
)
FREE: Final = ",".join(name for name in CATALOGUE if name.startswith("free-"))
"""What anybody can do."""
FAMILIES: Final = ("strongest", "gradient", "universal", "black-box", "free")
LONGEST_SIDE: Final = 299
"""Larger images are reduced to this: the size of the NIPS 2017 set."""
_DIGITS: Final = 3
BIN: Final = Path(sys.executable).parent


class Plan(argparse.Namespace):
    """What to run."""

    images: list[Path]
    names: Path | None
    training: Path | None
    families: str
    weights: list[str]
    metrics: str
    limit: int
    batch: int
    device: str
    work: Path


def main() -> None:
    """Run the missing parts and print the tables."""
    plan = parse()
    metrics = plan.metrics.split(",")
    gather(plan, metrics)
    build(plan)
    with serving(plan) as address, ThreadPoolExecutor(len(metrics)) as pool:
        list(pool.map(lambda metric: attack(plan, metric, address), metrics))
    for metric in metrics:
        print(markdown(make_report(plan.work / metric, TableOptions())))


def gather(plan: Plan, metrics: list[str]) -> None:
    """Copy the images to attack into the working folder."""
    if plan.names:
        names = plan.names.read_text(encoding="utf-8").split()
        refuse_seen(names, metrics)
        found = {path.name: path for folder in plan.images for path in folder.iterdir() if path.name in names}
        if missing := sorted(set(names) - set(found)):
            sys.exit(f"{missing[0]} of {plan.names} is in none of the folders given")
        chosen = [found[name] for name in names][: plan.limit]
    else:
        chosen = choose(plan.images, metrics, plan.limit)
    training = plan.training.iterdir() if plan.training else ()
    if both := {path.stem for path in chosen} & {path.stem for path in training}:
        sys.exit(f"{min(both)} is attacked, so no perturbation may be trained on it: take it out of {plan.training}")
    folder = plan.work / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for path in chosen:
        with PIL.Image.open(path) as image:
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), PIL.Image.Resampling.LANCZOS)
            image.convert("RGB").save(folder / f"{path.stem}.png")
    print(f"{len(chosen)} images in {folder}, none of them in a training list", file=sys.stderr)


def build(plan: Plan) -> None:
    """Build archives with TorchScript and ONNX graphs."""
    names = ["niqe", *plan.metrics.split(",")]
    if all((plan.work / "store" / f"{name}.mar").is_file() for name in names):
        return
    needed = [pair for pair in plan.weights if pair.partition("=")[0] in names]
    weights = [word for pair in needed for word in ("--weights", pair)]
    store = ["--model-store", str(plan.work / "store")]
    run("scoreguard-export", "build", "--metrics", ",".join(names), "--defences", "blur,resize,jpeg", *weights, *store)


def attack(plan: Plan, metric: str, address: str) -> None:
    """Train the universal perturbations of a metric and run its campaign."""
    families = {"strongest": [AUTO], "gradient": [GRADIENT], "black-box": [BLACK_BOX], "free": [FREE]}
    if "universal" in plan.families.split(","):
        families["universal"] = [train(plan, kind, metric) for kind in UNIVERSAL]
    attacks = [attack for family in FAMILIES if family in plan.families.split(",") for attack in families[family]]
    surrogate = ["--surrogate", str(plan.work / "store")]
    run(
        "scoreguard", "attack", "--metric", metric, "--target", address, *surrogate, "--adaptive",
        "--attacks", ",".join(attacks), "--defences", DEFENCES,
        "--images", str(plan.work / "images"), "--batch", str(plan.batch),
        "--device", plan.device, "--out", str(plan.work / metric),
    )  # fmt: skip


def train(plan: Plan, kind: str, metric: str) -> str:
    """Train a universal perturbation; return the attack that applies it."""
    file = plan.work / f"{kind}-{metric}.safetensors"
    options = [*UNIVERSAL[kind].split(), "--surrogate", str(plan.work / "store"), "--images", str(plan.training)]
    run(
        "scoreguard",
        "uap",
        "train",
        "--kind",
        kind,
        "--metric",
        metric,
        *options,
        "--device",
        plan.device,
        "--out",
        str(file),
    )
    return f"{kind}-uap:file={file}"


def run(name: str, *words: str) -> None:
    """Run one of the project's own commands; one thread, since the metrics run in parallel."""
    code = subprocess.run([str(BIN / name), *words], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False).returncode
    if code:
        sys.exit(f"{name} {words[0]} ended with exit code {code}")


@contextmanager
def serving(plan: Plan) -> Iterator[str]:
    """Start the service on a free port."""
    words = [str(BIN / "scoreguard-serve"), "--model-store", str(plan.work / "store"), "--port", "0", "--json"]
    words += ["--device", plan.device]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line:
                sys.exit("the service did not start; its message is above")
            yield str(json.loads(line)["address"])
        finally:
            server.terminate()
            server.wait(60)


def markdown(report: Report) -> str:
    """Format absolute gains, with intervals given enough images: crafted on the metric alone / with the defence."""
    chains = report.metric.chains
    lines = [f"| {report.metric.name} | {' | '.join(report.label(chain) for chain in chains)} |"]
    lines.append("|---" * (len(chains) + 1) + "|")
    for attack in report.plan.attacks:
        rows = {(row.chain, row.adaptive): row for row in report.rows if row.attack == attack}
        cells = [
            " / ".join(filter(None, (cell(rows.get((chain, adaptive))) for adaptive in (False, True))))
            for chain in chains
        ]
        lines.append(f"| {report.attack_name(attack)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(row: Row | None) -> str:
    """Format one gain with its interval."""
    if row is None or not row.scores:
        return ""
    gain = row.scores["absolute_gain"]
    return f"{value(gain, _DIGITS)} {interval(gain, _DIGITS)}".rstrip()


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=Path, action="append", required=True, help="Folder of images to attack; repeatable."
    )
    parser.add_argument(
        "--list", dest="names", type=Path, help=f"File with the names of the images to attack, as {LIST.name}."
    )
    parser.add_argument("--training", type=Path, help="Folder of other images, for the universal perturbations.")
    parser.add_argument("--families", default=",".join(FAMILIES), help="Families of attacks, separated by commas.")
    parser.add_argument("--weights", action="append", default=[], help="NAME=PATH of a metric's weights; repeatable.")
    parser.add_argument("--metrics", default="lite,nima", help="Metrics, separated by commas.")
    parser.add_argument("--limit", type=int, default=30, help="Most images to attack.")
    parser.add_argument("--batch", type=int, default=5, help="Images attacked at once.")
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)
    parser.add_argument("--work", type=Path, default=Path("runs/attacks"), help="Where everything is kept.")
    plan = parser.parse_args(namespace=Plan())
    if unknown := set(plan.families.split(",")) - set(FAMILIES):
        parser.error(f"there is no family {min(unknown)}; there are {', '.join(FAMILIES)}")
    if "universal" in plan.families.split(",") and plan.training is None:
        parser.error("universal perturbations are trained on the images of --training")
    return plan


if __name__ == "__main__":
    main()
