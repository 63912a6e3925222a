"""Peak memory of one exported defence on one image, in a process that runs nothing else.

`benchmarks/defences.py` starts this file with a JSON task on the command line and reads one JSON line from it. Only
what the engine needs is imported before the graph runs; it counts, because any process has to hold it.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoreguard.chain.tiles import in_tiles
from scoreguard.v1.manifest_pb2 import Tiling

Arrays = dict[str, npt.NDArray[np.float32]]
_STATUS: Final = Path("/proc/self/status")
_RUN_TILES: Final = 2
"""Tiles that are actually run; the others only occupy their memory, since every tile needs the same amount."""


def main() -> None:
    """Run the task and print the peaks, in bytes."""
    task = json.loads(sys.argv[1])
    run = _loaders()[task["engine"]](task["graph"])
    with np.load(task["inputs"]) as stored:
        inputs = {name: stored[name] for name in task["names"]}
    before = peak()
    output = _purified(run, inputs, task["tiling"])
    print(json.dumps({"before": before, "peak": peak(), "shape": output.shape}))


def peak() -> int:
    """Return the peak resident memory of this process so far, in bytes.

    Linux: VmHWM, because `ru_maxrss` starts from the parent process's value.
    """
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _loaders() -> dict[str, Callable[[str], Callable[[Arrays], Any]]]:
    return {"onnx": _onnx, "torchscript": _torchscript}


def _onnx(path: str) -> Callable[[Arrays], Any]:
    """Load the graph into the server's own engine."""
    from scoreguard_handlers.worker.deadline import Deadline
    from scoreguard_handlers.worker.engines.onnx_graph import OnnxGraph

    graph = OnnxGraph(Path(path).read_bytes(), threads=1)
    return lambda inputs: graph.run(inputs, Deadline())


def _torchscript(path: str) -> Callable[[Arrays], Any]:
    import torch

    torch.set_num_threads(1)
    graph: Any = torch.jit.load(path)  # type: ignore[no-untyped-call]

    def run(inputs: Arrays) -> Any:
        with torch.inference_mode():
            return graph(*(torch.from_numpy(value) for value in inputs.values())).numpy()

    return run


def _purified(run: Callable[[Arrays], Any], inputs: Arrays, tiling: Sequence[int] | None) -> Any:
    """Purify the whole image, or tile by tile as the server does."""
    if not tiling:
        return run(inputs)
    others = {name: value for name, value in inputs.items() if name != "image"}
    done = 0

    def work(tile: Any, rows: slice, columns: slice) -> Any:
        nonlocal done
        done += 1
        cut = {name: value[:, :, rows, columns] if value.ndim == 4 else value for name, value in others.items()}
        # A tile that only occupies memory: as large as a result, and written to.
        return run({"image": tile, **cut}) if done <= _RUN_TILES else np.ones_like(tile)

    size, overlap, multiple = tiling
    parts = Tiling(size=size, overlap=overlap, multiple=multiple)
    return in_tiles(inputs["image"], parts, work, lambda pieces, axis: np.concatenate(pieces, axis=axis))


if __name__ == "__main__":
    main()
