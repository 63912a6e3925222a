"""One ONNX graph on ONNX Runtime's CPU provider."""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Final

import onnxruntime

from scoreguard.chain.execution import INEXACT_OPTIMISERS
from scoreguard.chain.graph_cache import LARGE, GraphCache
from scoreguard.chain.onnx_devices import CPU_PROVIDER
from scoreguard.v1.archive import Archive
from scoreguard_handlers.errors import ResourceLimitError
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.onnx_run import FATAL, running

LARGE_INPUT: Final = 2**25
"""Size of an input in bytes, about 3 megapixels, from which memory matters more than speed; see `OnnxGraph`."""
_SHRINK_FROM: Final = 2**26
"""Size of an input in bytes from which an arena returns its memory to the system afterwards."""
_M_MMAP_THRESHOLD: Final = -3
"""The constant is from glibc's malloc.h."""
_LARGE_BLOCK: Final = 2**22


class OnnxGraph:
    """A loaded graph with one output; safe to run from several threads.

    With an arena, memory is kept for the next run and allocated in doubling steps: fast for small images. Without,
    each tensor is allocated from the system only while it is needed: half the memory, for half as much time again.
    """

    def __init__(self, model: bytes | Path, *, threads: int, large: int = LARGE, arena: bool = True) -> None:
        size = model.stat().st_size if isinstance(model, Path) else len(model)
        frugal, self._arena = size >= large, arena
        options = _options(threads, frugal=frugal, arena=arena)
        with _in_a_file(model) if frugal else nullcontext(model) as source:
            self._session = onnxruntime.InferenceSession(
                source, options, providers=[CPU_PROVIDER], disabled_optimizers=INEXACT_OPTIMISERS
            )
        self._output = [self._session.get_outputs()[0].name]

    @property
    def engine(self) -> str:
        """Return engine, version and provider."""
        return f"onnxruntime {onnxruntime.__version__} {self._session.get_providers()[0]}"

    def run(self, inputs: Mapping[str, Array], deadline: Deadline) -> Array:
        """Run the graph; stop between two nodes when the deadline passes.

        Raises:
            TooLateError: the deadline passed.
            CallerGoneError: the caller left.
            ResourceLimitError: not enough memory.
        """
        run_options = _run_options(inputs, arena=self._arena)
        with running(run_options, deadline, _memory_error):
            output: Array = self._session.run(self._output, inputs, run_options)[0]
        return output


def onnx_graphs(archive: Archive, *, threads: int, arena: bool = True) -> GraphCache[OnnxGraph]:
    """Return the ONNX graphs of an archive by their paths, loaded on first use."""
    refusal = f"is no graph that onnxruntime {onnxruntime.__version__} can load"
    return GraphCache(archive, partial(OnnxGraph, threads=threads, arena=arena), refusal)


def _memory_error() -> ResourceLimitError:
    return ResourceLimitError("out of memory while running a graph; send a smaller image")


@contextmanager
def _in_a_file(model: bytes | Path) -> Iterator[str | Path]:
    """Yield a model in a form to load: ONNX Runtime reads a file piece by piece, but copies bytes first."""
    if isinstance(model, Path):
        yield model
        return
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model)
        file.flush()
        yield file.name


def _run_options(inputs: Mapping[str, Array], *, arena: bool) -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.log_severity_level = FATAL
    if arena and any(array.nbytes >= _SHRINK_FROM for array in inputs.values()):
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


@cache
def _share_arena() -> None:
    """Create one arena for all graphs of the process: a separate one would keep the memory of its largest image."""
    kind, use = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    unlimited = onnxruntime.OrtArenaCfg(0, -1, -1, -1)
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, use), unlimited)


@cache
def _return_large_blocks() -> None:
    """Make the C library return each large block to the system: by default it raises the limit up to 32 MiB."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def _options(threads: int, *, frugal: bool, arena: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = FATAL
    # Spinning idle threads would take CPU time from the other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if arena:
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    else:
        _return_large_blocks()
        options.enable_cpu_mem_arena = False
        # From the second input of a shape on, all tensors of a run would be in one block, gaps included.
        options.enable_mem_pattern = False
    if frugal:
        # Weights stay in half precision, as stored.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options
