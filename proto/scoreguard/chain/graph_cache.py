"""The graphs of one archive, loaded when they are first needed and never before their digest is confirmed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import EngineError

Graph = TypeVar("Graph")
LARGE: Final = 2**29
"""Bytes of a graph from which memory counts for more than speed: its weights would be held two or three times."""


class GraphCache(Generic[Graph]):
    """Graphs by their path in the archive, each loaded once; safe to use from several threads."""

    def __init__(self, archive: Archive, load: Callable[[bytes | Path], Graph], refusal: str) -> None:
        """Remember where the graphs are; none is loaded yet.

        Args:
            archive: where they are.
            load: makes a graph of a file's bytes, or of the path of a large file.
            refusal: what is wrong with a file that `load` does not take: "is no graph that onnxruntime 1.20 can load".
        """
        self._archive, self._load, self._refusal = archive, load, refusal
        self._graphs: dict[str, Graph] = {}
        self._lock = threading.Lock()

    def __getitem__(self, path: str) -> Graph:
        """The graph stored under `path`.

        Raises:
            IntegrityError: the file is not what the manifest says.
            EngineError: it is, and is no graph.
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
        """The content; of a large file that archives share its place: engines read it from there without a copy."""
        if self._archive.size_of(path) >= LARGE and (file := self._archive.shared_file(path)) is not None:
            return file
        return self._archive.read(path)
