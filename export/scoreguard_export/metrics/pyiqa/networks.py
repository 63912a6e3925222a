"""Make a network of pyiqa: from given files alone, or from none at all, with random weights.

pyiqa's networks read their own files while they are made, or fetch them, and unpickle them. Here nothing is fetched,
no pickle is loaded, and pyiqa's own cache is neither read nor written: every function through which a file could come
is replaced while a network is made, and put back afterwards. Nothing else may run at the same time.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

import torch
from torch import nn

from scoreguard_export.errors import WeightsError
from scoreguard_export.libraries import library
from scoreguard_export.metrics.pyiqa.asked import LIBRARY, Asked, file_name
from scoreguard_export.metrics.pyiqa.clip_import import importable_clip
from scoreguard_export.metrics.pyiqa.replaced import replaced
from scoreguard_export.metrics.pyiqa.stand_ins import EXTRA, Absent, stand_in, statistics

SEED: Final = 1
"""Seed of the random numbers that a network is made with, before files fill it."""
NONE: Final[Mapping[str, object]] = MappingProxyType({})
"""No files at all: every number is random."""
_CLIP_LOADERS: Final = ("clip.clip", "pyiqa.archs.clip_model", "pyiqa.archs.afineclip_model")
"""Modules with a loader of OpenAI's CLIP each."""


def configurations(user: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the configurations of pyiqa's metrics by name.

    Args:
        user: Who asks, for the message.

    Raises:
        MissingExtraError: pyiqa is not installed.
    """
    known: Mapping[str, Mapping[str, Any]] = library("pyiqa.default_model_configs", EXTRA, user).DEFAULT_CONFIGS
    return known


def network_of(name: str, contents: Mapping[str, object] = NONE, asked: Asked | None = None) -> nn.Module:
    """Make a network in evaluation mode, on the CPU, from the contents of files alone.

    Args:
        name: pyiqa's name of a metric.
        contents: What files hold, by address. What the network reads from others is random.
        asked: Takes down the files that the network asked for.

    Raises:
        MissingExtraError: pyiqa is not installed.
        Exception: the network cannot be made from such files, or not here at all.
    """
    options = dict(configurations(f"pyiqa:{name}")[name]["metric_opts"])
    archs = library("pyiqa.archs", EXTRA, name)
    importable_clip()
    archs._lazy_import_arch(options["type"])  # before anything is replaced: what is imported then would keep it
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _closed(asked or Asked(), contents):
        warnings.simplefilter("ignore")
        with torch.no_grad(), torch.random.fork_rng(devices=[]):  # some encode texts while they are made
            torch.manual_seed(SEED)
            network: nn.Module = archs.build_network(options)
    return network.eval()


@contextlib.contextmanager
def _closed(asked: Asked, contents: Mapping[str, object]) -> Iterator[None]:
    """Replace every function through which a file could come.

    Args:
        asked: Takes down what is asked for.
        contents: What files hold, by address; the others are random.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = _Files(asked=asked, contents=contents, folder=Path(folder))
        for owner, values in files.replacements():
            stack.enter_context(replaced(owner, **values))
        yield


class _Files:
    """The functions that take the place of the real ones."""

    def __init__(self, *, asked: Asked, contents: Mapping[str, object], folder: Path) -> None:
        self.asked, self.contents, self.folder = asked, contents, folder
        self.fill: Callable[..., Any] = nn.Module.load_state_dict

    def replacements(self) -> Iterator[tuple[object, Mapping[str, Any]]]:
        """Yield what is replaced: its owner, and the new values by name."""
        yield torch, {"load": self.content}
        yield torch.jit, {"load": self.program}
        yield torch.hub, {"load_state_dict_from_url": self.fetched, "load": _refuse("torch.hub")}
        yield nn.Module, {"load_state_dict": self._filler()}
        yield library("torchvision.models._api", EXTRA, "pyiqa"), {"load_state_dict_from_url": self.backbone}
        timm = library("timm", EXTRA, "pyiqa")
        yield timm, {"create_model": self._untrained_by(timm)}
        yield library("timm.models._builder", EXTRA, "pyiqa"), {"load_pretrained": self.started}
        yield library("scipy.io", EXTRA, "pyiqa"), {"loadmat": self.matlab}
        yield library("huggingface_hub.constants", EXTRA, "pyiqa"), {"HF_HUB_OFFLINE": True}
        yield library("pyiqa.utils.download_util", EXTRA, "pyiqa"), {"download_url_to_file": self.placed}
        for module in self._modules():
            if hasattr(module, "DEFAULT_CACHE_DIR"):
                yield module, {"DEFAULT_CACHE_DIR": str(self.folder)}
        for name in _CLIP_LOADERS:
            if name in sys.modules:
                yield sys.modules[name], {"_download": self.clip}

    @staticmethod
    def _modules() -> list[ModuleType]:
        return [module for name, module in sys.modules.items() if name.startswith("pyiqa.")]

    def placed(self, url: str, path: str, **_: object) -> None:
        """Stand for a download; the file stays away."""
        self.asked.note(url)

    def clip(self, url: str, root: str) -> str:
        """Stand for a download of CLIP, which opens the file at once."""
        self.asked.note(url)
        path = self.folder / file_name(url)
        path.touch()
        return str(path)

    def content(self, file: Any, *_: object, **__: object) -> object:
        """Stand for `torch.load` of the file last asked for: its content if given, else random."""
        address = self.asked.addresses[-1]
        return self.contents[address] if address in self.contents else stand_in(file_name(address))

    def program(self, file: Any, *_: object, **__: object) -> nn.Module:
        """Stand for `torch.jit.load`: no program is loaded; ARNIQA's regression is a linear layer.

        Raises:
            RuntimeError: the file is CLIP's, whose loader then reads it as a state_dict.
        """
        if not isinstance(file, str):
            raise RuntimeError("not a TorchScript archive")
        layer = nn.Linear(4096, 1)
        given = self.contents.get(self.asked.addresses[-1])
        for tensor in given.values() if isinstance(given, Mapping) else ():
            target = layer.weight if tensor.numel() > 1 else layer.bias
            target.copy_(tensor.reshape(target.shape))
        self.asked.filled(layer)
        return layer

    def fetched(self, url: str, *_: object, **__: object) -> object:
        """Stand for a fetched state_dict."""
        self.asked.note(url)
        return self.content(url)

    def backbone(self, url: str, *_: object, **__: object) -> object:
        """Stand for torchvision's own weights, which a checkpoint overwrites later."""
        self.asked.note(f"{LIBRARY}torchvision/{file_name(url)}")
        return Absent()

    def matlab(self, path: str, *_: object, **__: object) -> object:
        """Stand for `scipy.io.loadmat`."""
        address = self.asked.addresses[-1]
        return self.contents[address] if address in self.contents else statistics(file_name(address))

    def started(self, network: nn.Module, *_: object, **__: object) -> None:
        """Stand for timm's own weights, which a checkpoint overwrites later."""
        self.asked.note(f"{LIBRARY}timm/{type(network).__name__}")
        self.asked.filled(network)

    def _untrained_by(self, timm: ModuleType) -> Callable[..., nn.Module]:
        create: Callable[..., nn.Module] = timm.create_model

        def made(model: str, pretrained: bool = False, **options: Any) -> nn.Module:
            network = create(model, pretrained=False, **options)
            if pretrained:
                self.asked.note(f"{LIBRARY}timm/{model}")
                self.asked.filled(network)
            return network

        return made

    def _filler(self) -> Callable[..., Any]:
        fill, asked = self.fill, self.asked

        def load_state_dict(module: nn.Module, state: Mapping[str, Any], *args: Any, **options: Any) -> Any:
            asked.filled(module)
            if not state:  # stands for a file that is not there
                return nn.modules.module._IncompatibleKeys([], [])
            return fill(module, state, *args, **options)

        return load_state_dict


def _refuse(what: str) -> Callable[..., Any]:
    def refused(*arguments: object, **_: object) -> Any:
        raise WeightsError(f"{what} would fetch and run {' '.join(map(str, arguments))}")

    return refused
