"""The graphs of one archive, loaded when they are first needed and never before their digest is confirmed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import EngineError

Graph = TypeVar("Graph")


class GraphCache(Generic[Graph]):
    """Graphs by their path in the archive, each loaded once; safe to use from several threads."""

    def __init__(self, archive: Archive, load: Callable[[bytes], Graph], refusal: str) -> None:
        """Remember where the graphs are; none is loaded yet.

        Args:
            archive: where they are.
            load: makes a graph of a file's bytes.
            refusal: what is wrong with bytes that `load` does not take: "is no graph that onnxruntime 1.20 can load".
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
        data = self._archive.read(path)
        try:
            return self._load(data)
        except MemoryError:
            raise
        except Exception as error:  # the engines' errors share no base
            problem = f"{self._refusal}: {' '.join(str(error).split())}"
            raise EngineError(path, problem, f"build the archive of {self._archive.name!r} again") from error
