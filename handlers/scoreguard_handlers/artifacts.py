"""The graphs of one archive, loaded when they are first needed and never before their digest is confirmed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from scoreguard.v1.archive import Archive

Graph = TypeVar("Graph")


class GraphCache(Generic[Graph]):
    """Graphs by their path in the archive, each loaded once."""

    def __init__(self, archive: Archive, load: Callable[[bytes], Graph]) -> None:
        self._archive, self._load = archive, load
        self._graphs: dict[str, Graph] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> Graph:
        """The graph stored under `path`.

        Raises:
            IntegrityError: the file is not what the manifest says.
        """
        graph = self._graphs.get(path)
        if graph is None:
            with self._lock:
                graph = self._graphs.get(path) or self._load(self._archive.read(path))
                self._graphs[path] = graph
        return graph
