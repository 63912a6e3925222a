"""Client side at run time: score images, attack the endpoint, report how robust the score is.

The names below are the client library; neither torch nor a server is needed for them.
"""

from scoreguard.chain.smoothing import Smoothing
from scoreguard.v1.spec import Step, format_chain, parse_chain
from scoreguard_client import _fork  # noqa: F401  # imported first: gRPC reads the environment on import
from scoreguard_client._async_client import AsyncScoringClient
from scoreguard_client._base import BaseClient
from scoreguard_client._batches import Layout
from scoreguard_client._client import ScoringClient
from scoreguard_client._clip_models import ClipDraw, ClipScore
from scoreguard_client._clips import ClipLike
from scoreguard_client._config import ConnectionConfig, RetryConfig, TLSConfig
from scoreguard_client._exceptions import (
    CancelledError,
    ConfigurationError,
    DeadlineExceededError,
    ImageError,
    InternalError,
    InvalidRequestError,
    MissingExtraError,
    NotDeployedError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ScoreguardError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from scoreguard_client._images import ImageLike
from scoreguard_client._local_clients import async_local, local
from scoreguard_client._models import (
    Catalogue,
    Certificate,
    Computation,
    DefenceDescription,
    FileDigest,
    Gradient,
    MetricDescription,
    ParameterDescription,
    Provenance,
    Purified,
    Score,
    StageTiming,
    StepProvenance,
)
from scoreguard_client._requests import DefencesLike, PreparedScore, ScoreRequest
from scoreguard_client._responses import Outcome

__all__ = [
    "AsyncScoringClient",
    "CancelledError",
    "Catalogue",
    "Certificate",
    "ClipDraw",
    "ClipLike",
    "ClipScore",
    "Computation",
    "ConfigurationError",
    "ConnectionConfig",
    "DeadlineExceededError",
    "DefenceDescription",
    "DefencesLike",
    "FileDigest",
    "Gradient",
    "ImageError",
    "ImageLike",
    "InternalError",
    "InvalidRequestError",
    "Layout",
    "MetricDescription",
    "MissingExtraError",
    "NotDeployedError",
    "NotFoundError",
    "Outcome",
    "ParameterDescription",
    "PermissionDeniedError",
    "PreparedScore",
    "Provenance",
    "Purified",
    "ResourceExhaustedError",
    "RetryConfig",
    "Score",
    "ScoreRequest",
    "ScoreguardError",
    "ScoringClient",
    "ServerError",
    "Smoothing",
    "StageTiming",
    "Step",
    "StepProvenance",
    "TLSConfig",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
    "async_local",
    "format_chain",
    "local",
    "parse_chain",
]

# Tracebacks show the name that users import. The dataclasses stay where they are: tools that read their annotations
# look the names up in the module.
for _name in __all__:
    if isinstance(globals()[_name], type) and issubclass(globals()[_name], (Exception, BaseClient)):
        globals()[_name].__module__ = __name__
