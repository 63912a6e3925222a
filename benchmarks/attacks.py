"""Attack throughput relative to bare passes, to foolbox and to a loop over single images, in one run.

    python benchmarks/attacks.py --model-store model_store --metric lite

Every round measures four contenders for each attack, in turn and on the same TorchScript graph: the attack itself on a
batch; the limit (as many bare forward and backward passes of the batch as the attack makes); foolbox 3 running the same
attack with the same steps on the batch, if it has that attack; and the attack's steps on one image after the other, as
the public benchmark (arXiv 2310.06958) runs them. The table shows the median over rounds of the ratio of speeds within
a round: machines differ and drift, ratios within a round do not.

    python benchmarks/attacks.py --device cuda --images 16 --attacks ifgsm,pgd,apgd

On a GPU the batch stays there, and the clock waits for it before and after each contender. The aim is an attack of at
least 0.9 of the limit at 16 images: its steps per second over those of forward and backward passes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from skimage import data as photographs

from scoreguard.chain.devices import DEVICE_HELP
from scoreguard.chain.numerics import DEFAULT as NUMERICS
from scoreguard.chain.torchscript import load_graph
from scoreguard.v1.archive import Archive
from scoreguard_client.attacks import Attack, Needs, parse_attacks
from scoreguard_client.oracles import LocalOracle, find_surrogate
from scoreguard_client.oracles.base import Images

ATTACKS: Final = (
    "fgsm,ifgsm,mifgsm,pgd:iterations=10:restarts=1,apgd:iterations=10,korhonen:mode=benchmark,ssah:mode=benchmark,"
    "zhang-ssim:mode=benchmark,advcf:mode=benchmark,madc:mode=benchmark,ioi,"
    "square:queries=20,nes:queries=20,spsa:queries=20,simba:queries=20,onepixel:queries=20,patch-rs:queries=20"
)
LEVELS: Final = 255


class Plan(argparse.Namespace):
    """What to measure."""

    model_store: Path
    metric: str
    attacks: str
    images: int
    size: int
    threads: int
    device: str
    rounds: int
    json: bool


@dataclass(frozen=True, kw_only=True)
class Line:
    """One attack."""

    attack: str
    """Its text form, as given."""
    gradients: bool
    """Whether its queries are gradients."""
    images_per_second: float
    """Attacked images per second of the last round; not comparable across machines."""
    limit: float
    """Speed as a share of the bare passes."""
    foolbox: float | None
    """Speed as a multiple of foolbox; None if foolbox has no such attack."""
    one_by_one: float | None
    """Speed as a multiple of the loop over single images; None for attacks whose loop is not simple."""


def main() -> None:
    """Measure and print."""
    plan = parse()
    torch.set_num_threads(plan.threads)
    warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
    archive = find_surrogate(plan.model_store, plan.metric)
    oracle, images = LocalOracle(archive, device=plan.device, batch=batch_of(plan)), crops(plan.images, plan.size)
    graph = load(archive, oracle.device.torch)
    sign = oracle.facts.sign
    lines = []
    for attack in parse_attacks(plan.attacks):
        rounds = [measure(attack, oracle, graph, sign, images) for _ in range(plan.rounds + 1)][1:]
        lines.append(summary(attack, rounds, len(images)))
        if not plan.json:
            print(row(lines[-1]), flush=True)
    if plan.json:
        print(json.dumps([asdict(line) for line in lines]))


def batch_of(plan: Plan) -> int | None:
    """Return the rows that run at once: the CPU's own choice, or all images on a GPU, as in the limit."""
    return None if plan.device == "cpu" else plan.images


def load(archive: Archive, device: torch.device) -> Any:
    """Load the metric's TorchScript graph to a device."""
    return load_graph(archive.read(archive.manifest.metric.graphs.torchscript), device)


def measure(attack: Attack, oracle: LocalOracle, graph: Any, sign: float, images: Images) -> dict[str, float]:
    """Time each contender on the whole batch, in seconds."""
    result = None

    def ours() -> None:
        nonlocal result
        result = attack(images, oracle)

    device = oracle.device.torch
    seconds = {"ours": timed(ours, device)}
    questions = len(result.trace) if result is not None else 0
    batch = torch.from_numpy(images).to(device)
    gradients = attack.needs is Needs.GRADIENT
    seconds["limit"] = timed(lambda: limit(graph, batch, questions, gradients=gradients), device)
    peer = foolbox_of(attack)
    if peer is not None:
        seconds["foolbox"] = timed(lambda: peer(graph, batch, sign), device)
    if attack.name in {"fgsm", "ifgsm", "mifgsm"}:
        steps = attack.queries_needed
        seconds["one_by_one"] = timed(lambda: [signed_steps(graph, one[None], steps, sign) for one in batch], device)
    return seconds


def limit(graph: Any, batch: torch.Tensor, questions: int, *, gradients: bool) -> None:
    """Run the passes of an attack with the settings of its oracle: repeatable, in full single precision."""
    with NUMERICS.applied(batch.device):
        # The last query of a gradient attack is a score.
        if gradients:
            bare(graph, batch, questions - 1, 1)
        else:
            bare(graph, batch, 0, questions)


def bare(graph: Any, batch: torch.Tensor, gradients: int, scores: int) -> None:
    """Run passes through the graph and nothing else."""
    for _ in range(gradients):
        images = batch.clone().requires_grad_()
        graph(images).sum().backward()
    with torch.no_grad():
        for _ in range(scores):
            graph(batch)


def signed_steps(graph: Any, image: torch.Tensor, steps: int, sign: float) -> torch.Tensor:
    """Run the public benchmark's loop: one image, a perturbation, a sign step, a clip, and the score at the end."""
    perturbation = torch.zeros_like(image).requires_grad_()
    for _ in range(steps):
        loss = 1 - sign * graph((image + perturbation).clamp(0, 1)).mean()
        (gradient,) = torch.autograd.grad(loss, perturbation)
        with torch.no_grad():
            perturbation -= gradient.sign() / LEVELS
            perturbation.clamp_(-10 / LEVELS, 10 / LEVELS)
    with torch.no_grad():
        attacked = (image + perturbation).clamp(0, 1)
        graph(attacked)
    return attacked


def foolbox_of(attack: Attack) -> Callable[[Any, torch.Tensor, float], Any] | None:
    """Return the same attack in foolbox, on a regression loss; None if foolbox has none."""
    foolbox = import_foolbox()
    steps = {"abs_stepsize": 1 / LEVELS, "steps": attack.queries_needed, "random_start": False}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "fgsm": ("LinfFastGradientAttack", {"random_start": False}),
        "ifgsm": ("LinfBasicIterativeAttack", steps),
        "mifgsm": ("LinfMomentumIterativeFastGradientMethod", steps),
        "pgd": ("LinfProjectedGradientDescentAttack", steps | {"random_start": True}),
    }
    if attack.name not in kinds:
        return None
    name, options = kinds[attack.name]

    def run(graph: Any, batch: torch.Tensor, sign: float) -> Any:
        peer = getattr(foolbox.attacks, name)(**options)
        peer.get_loss_fn = lambda model, labels: lambda inputs: sign * model(inputs)[:, 0].sum()
        model = foolbox.PyTorchModel(Logit(graph), bounds=(0, 1), device=batch.device)
        labels = torch.zeros(len(batch), dtype=torch.int64, device=batch.device)
        return peer.run(model, batch, foolbox.Misclassification(labels), epsilon=10 / LEVELS)

    return run


def import_foolbox() -> Any:
    """Import foolbox without its own import warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        foolbox: Any = importlib.import_module("foolbox")
        mi_fgsm: Any = importlib.import_module("foolbox.attacks.mi_fgsm")
    foolbox.attacks.LinfMomentumIterativeFastGradientMethod = mi_fgsm.LinfMomentumIterativeFastGradientMethod
    return foolbox


class Logit(torch.nn.Module):
    """A metric as the kind of model that foolbox expects: a matrix of logits, here with one column."""

    def __init__(self, graph: Any) -> None:
        super().__init__()
        self.graph = graph
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores, (N, 1)."""
        scores: torch.Tensor = self.graph(images)
        return scores[:, None]


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that a call takes, with all that it left to the device."""
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summary(attack: Attack, rounds: list[dict[str, float]], count: int) -> Line:
    """Return the medians over rounds of the ratios within each round."""

    def ratio(name: str) -> float | None:
        values = [seconds[name] / seconds["ours"] for seconds in rounds if name in seconds]
        return statistics.median(values) if values else None

    return Line(
        attack=attack.name,
        gradients=attack.needs is Needs.GRADIENT,
        images_per_second=count / rounds[-1]["ours"],
        limit=ratio("limit") or 0.0,
        foolbox=ratio("foolbox"),
        one_by_one=ratio("one_by_one"),
    )


def row(line: Line) -> str:
    """Format a line of the table."""
    peers = (f"{value:5.2f}" if value is not None else "    –" for value in (line.limit, line.foolbox, line.one_by_one))
    limit, foolbox, one_by_one = peers
    return f"{line.attack:<12} limit {limit}  foolbox {foolbox}  one by one {one_by_one}"


def crops(count: int, size: int) -> Images:
    """Return crops of scikit-image's photographs, (N, 3, size, size)."""
    names = ("astronaut", "coffee", "chelsea")
    sources = [getattr(photographs, name)() for name in names]
    crops = []
    for number in range(count):
        source = sources[number % len(sources)]
        top = (number * 37) % (source.shape[0] - size + 1)
        left = (number * 53) % (source.shape[1] - size + 1)
        crops.append(source[top : top + size, left : left + size].transpose(2, 0, 1))
    return (np.stack(crops) / LEVELS).astype(np.float32)


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--metric", default="lite")
    parser.add_argument("--attacks", default=ATTACKS, help="Attacks in their text form, separated by commas.")
    parser.add_argument("--images", type=int, default=8, help="Images of the batch.")
    parser.add_argument("--size", type=int, default=299, help="Height and width in pixels; at most 300.")
    parser.add_argument("--threads", type=int, default=2, help="Threads of torch.")
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)
    parser.add_argument("--rounds", type=int, default=3, help="Rounds after one to warm up.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    return parser.parse_args(namespace=Plan())


if __name__ == "__main__":
    main()
