"""Try every no-reference metric of pyiqa on random weights, and write the table that `catalogue --pyiqa` shows.

    python scripts/pyiqa_survey.py --records runs/pyiqa.jsonl

Needs the extras `[export]` and `[pyiqa]`. Each metric runs in a process of its own, with a limit of time and memory.
The records are one JSON line each; a second run tries only what has none yet. `--names a,b` tries these again.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from scoreguard.support.torchvision import torchvision_operators
from scoreguard_export.metrics.pyiqa.table import PATH

_LIBRARIES: Final = ("pyiqa", "torch", "torchvision", "timm", "transformers", "onnx", "onnxscript", "onnxruntime")
_LANGUAGE_MODELS: Final = {
    "QAlign": "a language model of 8.2 billion parameters (mPLUG-Owl2)",
    "Compare2Score": "a language model of 8.2 billion parameters (mPLUG-Owl2)",
    "QReAlign": "a language model of {size} billion parameters (Qwen 3.5)",
}
_WEIGHTS: Final = {
    "MUSIQ": "pretrained",
    "NIMA": "train_dataset",
    "MANIQA": "train_dataset",
    "TReS": "train_dataset",
    "BRISQUE": "version",
    "CFANet": "model_name",
    "ARNIQA": "regressor_dataset",
    "QualiCLIP": "model_type",
}
"""The option of a network that chooses its weights (BRISQUE: and its constants) and nothing else. Networks equal but
for it, which have as many parameters, are equal on random weights, and are tried once."""
_SIZES: Final = {"mini": "0.8", "lite": "4", "pro": "9"}
"""Sizes of Q-ReAlign in billions of parameters, as its publisher names the files."""


def main() -> None:
    """Run what has no record yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=Path("runs/pyiqa.jsonl"))
    parser.add_argument("--names", default="", help="Try these again, separated by commas.")
    parser.add_argument("--seconds", type=int, default=1500, help="Limit of processor time of one metric.")
    parser.add_argument("--gigabytes", type=int, default=10, help="Limit of address space of one metric.")
    asked = parser.parse_args()
    asked.records.parent.mkdir(parents=True, exist_ok=True)
    known = _configurations()
    again = set(filter(None, asked.names.split(",")))
    records = {} if not asked.records.exists() else dict(_read(asked.records))
    for name, configuration in known.items():
        if name not in records or name in again:
            found = _tried(name, configuration, asked.seconds, asked.gigabytes, known, records)
            records[name] = _base(name, configuration) | found
            with asked.records.open("a") as file:
                file.write(json.dumps(records[name]) + "\n")
            print(name, records[name]["status"], records[name].get("reason", ""), flush=True)
    versions = {library: version(library) for library in _LIBRARIES}
    content = {"versions": versions, "metrics": [records[name] for name in known]}
    PATH.write_text(json.dumps(content, indent=1) + "\n")


def _configurations() -> dict[str, dict[str, Any]]:
    torchvision_operators()
    from scoreguard_export.metrics.pyiqa.networks import configurations

    known = configurations("the survey").items()
    return {name: dict(found) for name, found in known if found["metric_mode"] == "NR"}


def _read(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in path.read_text().splitlines():
        record = json.loads(line)
        yield record["name"], record


def _structure(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a network that make its form; itself if nothing is known about them."""
    options = configuration["metric_opts"]
    weights = _WEIGHTS.get(options["type"])
    if weights is None:
        return configuration
    return {key: value for key, value in options.items() if key != weights}


def _base(name: str, configuration: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "network": configuration["metric_opts"]["type"],
        "score_range": configuration["score_range"],
        "lower_better": configuration.get("lower_better", False),
    }


def _tried(
    name: str,
    configuration: dict[str, Any],
    seconds: int,
    gigabytes: int,
    known: dict[str, dict[str, Any]],
    records: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    options = configuration["metric_opts"]
    if model := _LANGUAGE_MODELS.get(options["type"]):
        size = _SIZES.get(options.get("model", ""), "")
        return {"status": "cannot", "reason": f"load: {model.format(size=size)}, read by transformers from its hub"}

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30, gigabytes << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 60))

    command = [sys.executable, str(Path(__file__).with_name("pyiqa_trial.py")), name]
    alike = [other for other in records if other != name and _structure(known[other]) == _structure(configuration)]
    for other in alike:
        if "parameters" not in records[other]:  # it could not be made; nor can this one
            return {key: value for key, value in records[other].items() if key not in _base(name, configuration)}
    if alike:
        done = subprocess.run([*command, "--files"], preexec_fn=limited, capture_output=True, text=True, check=True)
        made = json.loads(done.stdout.splitlines()[-1])
        for other in alike:
            if records[other].get("parameters") == made["parameters"]:
                kept = {key: value for key, value in records[other].items() if key not in _base(name, configuration)}
                return {**kept, **made}
    done = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGXCPU:
        said = done.stdout.splitlines()
        so_far = json.loads(said[-1]) if said else {"status": "cannot"}
        return {**so_far, "reason": f"time: no graph within {seconds // 60} minutes of a processor"}
    if done.returncode:
        return {"status": "cannot", "reason": f"memory: the trial takes more than {gigabytes} GB"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
