"""The graphs of one archive, loaded when they are first needed and never before their digest is confirmed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from scoreguard.v1.archive import Archive
from scoreguard_handlers.errors import ServingError, UnreadableGraphError

Graph = TypeVar("Graph")
LARGE: Final = 2**29
"""Bytes of a graph from which memory counts for more than speed: its weights would be held two or three times."""


class GraphCache(Generic[Graph]):
    """Graphs by their path in the archive, each loaded once."""

    def __init__(self, archive: Archive, load: Callable[[bytes | Path], Graph]) -> None:
        self._archive, self._load = archive, load
        self._graphs: dict[str, Graph] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> Graph:
        """The graph stored under `path`.

        Raises:
            IntegrityError: the file is not what the manifest says, or no graph.
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
        except (MemoryError, ServingError):
            raise
        except Exception as error:  # the engines' errors share no base
            raise UnreadableGraphError(self._archive.name, path, error) from error

    def _source(self, path: str) -> bytes | Path:
        """The content; of a large file that archives share its place: engines read it from there without a copy."""
        if self._archive.size_of(path) >= LARGE and (file := self._archive.shared_file(path)) is not None:
            return file
        return self._archive.read(path)
