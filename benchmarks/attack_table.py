"""Every attack against the live endpoint, undefended and behind three defences, as the table of docs/attacks.md.

    python benchmarks/attack_table.py --images nips2017 --training photos --weights nima=nima_mobilenet_technical.pt

Builds the archives, trains the universal perturbations on other pictures, starts the service on a free port, runs one
campaign for each metric (each attack also knowing each defence), and prints the tables as Markdown. Everything is kept
in the working folder: the same command goes on where it was.

The iterated attacks of the papers that take hundreds of steps are run with fewer, so that a pair of cores finishes
within an hour or two; the parameters are in the first column of each run's `report/table.csv`.
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

from scoreguard_client.report import Report, TableOptions, make_report
from scoreguard_client.report.table import Row
from scoreguard_client.report.text import number

DEFENCES: Final = "none,blur,resize,jpeg:quality=50"
UNIVERSAL: Final = {
    "cumulative": "--epochs 10",
    "optimized": "--epochs 10",
    "generative": "--epochs 5 --batch 4 --channels 32",
    "momentum": "",
}
GRADIENT: Final = (
    "fgsm,ifgsm,mifgsm,amifgsm:k=0.125,korhonen:iterations=20,ssah:mode=benchmark,madc,zhang-ssim:mode=benchmark,"
    "advcf:iterations=15,pgd:restarts=1,apgd:iterations=25,ioi"
)
BLACK_BOX: Final = (
    "square:queries=100,nes:queries=100,spsa:queries=100:pairs=16,simba:queries=100,"
    "onepixel:queries=100:population=25,patch-rs:queries=100,auto:iterations=15:queries=30"
)
BIN: Final = Path(sys.executable).parent


class Plan(argparse.Namespace):
    """What to run."""

    images: Path
    training: Path
    weights: list[str]
    metrics: str
    limit: int
    batch: int
    work: Path


def main() -> None:
    """Run what is missing, and print."""
    plan = parse()
    metrics = plan.metrics.split(",")
    build(plan)
    with serving(plan) as address, ThreadPoolExecutor(len(metrics)) as pool:
        list(pool.map(lambda metric: attack(plan, metric, address), metrics))
    for metric in metrics:
        print(markdown(make_report(plan.work / metric, TableOptions())))


def build(plan: Plan) -> None:
    """Archives with TorchScript and ONNX graphs."""
    names = ["niqe", *plan.metrics.split(",")]
    if all((plan.work / "store" / f"{name}.mar").is_file() for name in names):
        return
    weights = [word for pair in plan.weights for word in ("--weights", pair)]
    store = ["--model-store", str(plan.work / "store")]
    run("scoreguard-export", "build", "--metrics", ",".join(names), "--defences", "blur,resize,jpeg", *weights, *store)


def attack(plan: Plan, metric: str, address: str) -> None:
    """Train the perturbations of a metric, and run its campaign."""
    trained = [train(plan, kind, metric) for kind in UNIVERSAL]
    surrogate = ["--surrogate", str(plan.work / "store")]
    run(
        "scoreguard", "attack", "--metric", metric, "--target", address, *surrogate, "--adaptive",
        "--attacks", ",".join([GRADIENT, *trained, BLACK_BOX]), "--defences", DEFENCES,
        "--images", str(plan.images), "--limit", str(plan.limit), "--batch", str(plan.batch),
        "--out", str(plan.work / metric),
    )  # fmt: skip


def train(plan: Plan, kind: str, metric: str) -> str:
    """A universal perturbation, and the attack that applies it."""
    file = plan.work / f"{kind}-{metric}.safetensors"
    options = [*UNIVERSAL[kind].split(), "--surrogate", str(plan.work / "store"), "--images", str(plan.training)]
    run("scoreguard", "uap", "train", "--kind", kind, "--metric", metric, *options, "--out", str(file))
    return f"{kind}-uap:file={file}"


def run(name: str, *words: str) -> None:
    """Run one of the project's own commands; one thread, since the metrics run side by side."""
    code = subprocess.run([str(BIN / name), *words], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False).returncode
    if code:
        sys.exit(f"{name} {words[0]} ended with exit code {code}")


@contextmanager
def serving(plan: Plan) -> Iterator[str]:
    """The service on a free port."""
    words = [str(BIN / "scoreguard-serve"), "--model-store", str(plan.work / "store"), "--port", "0", "--json"]
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
    """Absolute gains with their intervals: crafted on the metric alone / knowing the defence."""
    chains = report.plan.defences
    lines = [f"| {report.plan.metric} | {' | '.join(report.label(chain) for chain in chains)} |"]
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
    """One gain, with half the width of its interval."""
    if row is None or not row.scores:
        return ""
    gain = row.scores["absolute_gain"]
    return f"{number(gain.value, 2)} ± {number((gain.high - gain.low) / 2, 2)}"


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="Folder of pictures to attack.")
    parser.add_argument("--training", type=Path, required=True, help="Folder of other pictures, for the perturbations.")
    parser.add_argument("--weights", action="append", default=[], help="NAME=PATH of a metric's weights; repeatable.")
    parser.add_argument("--metrics", default="lite,nima", help="Metrics, separated by commas.")
    parser.add_argument("--limit", type=int, default=30, help="Most pictures to attack, by name.")
    parser.add_argument("--batch", type=int, default=5, help="Pictures attacked at once.")
    parser.add_argument("--work", type=Path, default=Path("runs/attacks"), help="Where everything is kept.")
    return parser.parse_args(namespace=Plan())


if __name__ == "__main__":
    main()
