"""What is deployed: the archives of a model store, verified, by metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from scoreguard.support.digests import sha256_of_file
from scoreguard.support.shown import shown
from scoreguard.v1.archive import Archive, archives_in
from scoreguard.v1.manifest_pb2 import ArchiveManifest
from scoreguard.v1.scoring_pb2 import DefenceStep, DeployedMetric
from scoreguard_handlers.errors import InvalidRequestError, StartupError, UnknownNameError
from scoreguard_handlers.worker.request_check import RequestChecker

_LIST_LIMIT: Final = 300
"""Most characters of a list of metrics in a message."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One served archive."""

    archive: Archive
    """The `.mar` file, every digest confirmed."""
    sha256: str
    """Digest of the file, hexadecimal."""

    @property
    def manifest(self) -> ArchiveManifest:
        """Return the archive's manifest."""
        return self.archive.manifest

    @cached_property
    def checker(self) -> RequestChecker:
        """Return the check of requests to this deployment."""
        return RequestChecker(self.manifest)

    @property
    def defences(self) -> set[str]:
        """Return the names of the defences that may precede the metric."""
        return {artifact.facts.name for artifact in self.manifest.defences}

    def describe(self) -> DeployedMetric:
        """Return the entry for ListMetrics."""
        return DeployedMetric(
            facts=self.manifest.metric.facts,
            defences=[artifact.facts for artifact in self.manifest.defences],
            archive_sha256=self.sha256,
            files=self.manifest.files,
        )


class Catalogue(Mapping[str, Deployment]):
    """The deployments by metric name, in alphabetical order."""

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        self._by_name = {deployment.archive.name: deployment for deployment in deployments}
        self._by_name = dict(sorted(self._by_name.items()))

    @classmethod
    def open(cls, model_store: Path, *, any_handler: bool = False) -> Self:
        """Verify every archive of a model store.

        Args:
            model_store: The folder.
            any_handler: Whether archives may contain a handler file other than this version's; see `TorchServeConfig`.

        Raises:
            IntegrityError: there is none, one does not match its manifest, or TorchServe would run other code.
            StartupError: the file of an archive is not named after its metric.
        """
        return cls(_open(archive, any_handler) for archive in archives_in(model_store))

    def __getitem__(self, metric: str) -> Deployment:
        return self._by_name[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, metric: str) -> Deployment:
        """Return the deployment that a request names.

        Raises:
            InvalidRequestError: the request names none.
            UnknownNameError: it is not deployed.
        """
        if not metric:
            deployed = shown(", ".join(self), _LIST_LIMIT)
            raise InvalidRequestError(f"the request names no metric; deployed: {deployed}", field="metric")
        if metric not in self._by_name:
            raise UnknownNameError("metric", metric, self._by_name, field="metric")
        return self._by_name[metric]

    def find_holding(self, steps: Iterable[DefenceStep]) -> Deployment:
        """Return a deployment that holds every defence of a chain.

        Raises:
            UnknownNameError: no archive holds one of the defences.
            InvalidRequestError: no single archive holds them all.
        """
        names = [step.name for step in steps]
        known = set[str]().union(*(deployment.defences for deployment in self.values()))
        for index, name in enumerate(names):
            if name not in known:
                raise UnknownNameError("defence", name, known, field=f"defences[{index}].name")
        for deployment in self.values():
            if deployment.defences.issuperset(names):
                return deployment
        which = shown(", ".join(dict.fromkeys(names)))
        raise InvalidRequestError(f"no archive holds all of {which}; purify in two calls", field="defences")


def _open(archive: Archive, any_handler: bool) -> Deployment:
    archive.verify()
    if not any_handler:
        archive.verify_torchserve_files()
    if archive.path.stem != archive.name:
        raise StartupError(f"{archive.path} holds the metric {archive.name!r}: name the file {archive.name}.mar")
    return Deployment(archive=archive, sha256=sha256_of_file(archive.path))
