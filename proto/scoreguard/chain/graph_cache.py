"""The graphs of one archive, loaded on first use, and only after their digest is confirmed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import EngineError

Graph = TypeVar("Graph")
LARGE: Final = 2**29
"""Size of a graph in bytes from which memory matters more than speed: its weights would be held two or three times."""


class GraphCache(Generic[Graph]):
    """Graphs by their path in the archive, each loaded once; safe to use from several threads."""

    def __init__(self, archive: Archive, load: Callable[[bytes | Path], Graph], refusal: str) -> None:
        """Remember where the graphs are; none is loaded yet.

        Args:
            archive: where they are.
            load: creates a graph from a file's bytes, or from the path of a large file.
            refusal: the error text for a file that `load` rejects: "is no graph that onnxruntime 1.20 can load".
        """
        self._archive, self._load, self._refusal = archive, load, refusal
        self._graphs: dict[str, Graph] = {}
        self._lock = threading.Lock()

    def __getitem__(self, path: str) -> Graph:
        """Return the graph stored under `path`.

        Raises:
            IntegrityError: the file does not match the manifest.
            EngineError: it matches, but is not a graph.
        """
        graph = self._graphs.get(path)
        if graph is None:
            with self._lock:
                graph = self._graphs.get(path) or self._loaded(path)
                self._graphs[path] = graph
        return graph

    def _loaded(self, path: str) -> Graph:
        source = self._source(path)
        try:
            return self._load(source)
        except MemoryError:
            raise
        except Exception as error:  # the engines' errors share no base
            problem = f"{self._refusal}: {' '.join(str(error).split())}"
            raise EngineError(path, problem, f"build the archive of {self._archive.name!r} again") from error

    def _source(self, path: str) -> bytes | Path:
        """The content; for a large shared file, its path: engines read it from there without a copy."""
        if self._archive.size_of(path) >= LARGE and (file := self._archive.shared_file(path)) is not None:
            return file
        return self._archive.read(path)
