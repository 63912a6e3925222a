"""Where the files lie that the archives of a model store share, asked from inside a worker of TorchServe.

TorchServe unpacks an archive into a temporary folder and does not say where it came from. scoreguard-serve says it in
the environment. Plain `torchserve` was given the model store on its command line, which a worker can read, since
TorchServe is among its parents.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import psutil

from scoreguard.v1.blobs import FOLDER

VARIABLE: Final = "SCOREGUARD_BLOBS"
_MAIN_CLASS: Final = "org.pytorch.serve.ModelServer"
_OPTIONS: Final = ("-s", "--model-store")


def blob_folder(environment: Mapping[str, str] = os.environ, process: psutil.Process | None = None) -> Path | None:
    """The folder of shared files; None where nothing says which it is.

    Args:
        environment: `SCOREGUARD_BLOBS` names the folder; set it where archives are registered from another place than
            the model store.
        process: The worker; None = this process.
    """
    if given := environment.get(VARIABLE):
        return Path(given)
    store = _model_store(process or psutil.Process())
    return store / FOLDER if store is not None else None


def _model_store(process: psutil.Process) -> Path | None:
    """The model store of the TorchServe that started a process."""
    try:
        for parent in process.parents():
            words = parent.cmdline()
            if _MAIN_CLASS in words:
                return _named_by(words[words.index(_MAIN_CLASS) :], parent)
    except psutil.Error:  # a parent that is gone, or another user's
        return None
    return None


def _named_by(words: Sequence[str], process: psutil.Process) -> Path | None:
    """What follows the option; a relative path begins where TorchServe was started."""
    for option, value in pairwise(words):
        if option in _OPTIONS:
            return Path(process.cwd()) / value
    return None
