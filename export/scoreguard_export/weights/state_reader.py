"""Take the tensors out of a pickled or scripted module, in a process of its own that runs none of the file's code.

Run as a script, `python -I state_reader.py FILE RESULT [PACKAGE ...]`; it imports torch and the standard library.
Every class that the file names is replaced by one that holds state: those of torch's layers and of torchvision, those
of `__main__`, and those of the packages given. A global that is none of these, nor part of storing tensors, ends it.
"""

from __future__ import annotations

import io
import pickle
import resource
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

REFUSED: Final = 3
"""Exit code for a file that is refused; standard error says why, in one line."""
_MODULES: Final = ("torch.nn", "torchvision.models", "torchvision.ops", "__torch__", "__main__")
"""Modules whose classes are replaced by holders of state."""
_WRAPPERS: Final = ("params_ema", "params", "state_dict", "model_state_dict", "model", "network", "net")
_STORAGES: Final = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_RENAMED: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules of Python 2, whose names the pickles of torch keep."""
_MAGIC: Final = 0x1950A86A20F9469CFC6C
_CPU_SECONDS: Final = 600
_MEMORY: Final = 1 << 30
"""Bytes beside three times the file, which is held, unpacked and copied."""
_DEPTH: Final = 100
"""Modules within modules."""


class RefusedError(Exception):
    """The file holds something that is not read here."""


class Holder:
    """An object of the file: its class's name and its state, without its code."""

    state: Mapping[str, Any]

    def __new__(cls, *args: object) -> Holder:
        """Make one whatever the file passes."""
        made = super().__new__(cls)
        made.state = {}
        return made

    def __init__(self, *args: object) -> None:
        """Take no notice of arguments."""

    def __setstate__(self, state: object) -> None:
        """Keep the attributes."""
        if isinstance(state, Mapping):
            self.state = state


def _rebuilt(storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *others: object) -> Tensor:
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def _parameter(data: Tensor, *others: object) -> Tensor:
    return data


def _as_it_is(value: object, *others: object) -> object:
    return value


def _reconstructed(cls: object, *others: object) -> Holder:
    if not (isinstance(cls, type) and issubclass(cls, Holder)):
        raise RefusedError("it makes an object of a class that is not replaced")
    return cls()


_GLOBALS: Final[Mapping[str, object]] = {
    "collections.OrderedDict": OrderedDict,
    "builtins.set": set,
    "copyreg._reconstructor": _reconstructed,
    "builtins.object": object,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _rebuilt,
    "torch._utils._rebuild_tensor_v2": _rebuilt,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    **{f"torch.jit._pickle.{name}": _as_it_is for name in ("build_intlist", "build_tensorlist", "build_boollist")},
    **{f"torch.jit._pickle.{name}": _as_it_is for name in ("build_doublelist", "restore_type_tag")},
    **{f"torch.{name}": dtype for name, dtype in _STORAGES.items()},
    **{str(dtype): dtype for dtype in _STORAGES.values()},
}
"""What stands for the globals of a file; each is inert, or makes a tensor or a container."""


class _Unpickler(pickle.Unpickler):
    """Takes globals from the list above and from nowhere else."""

    def __init__(self, file: BinaryIO, storage: Callable[[Any], object], packages: Sequence[str]) -> None:
        super().__init__(file, encoding="latin1")
        self.storage, self.packages = storage, (*_MODULES, *packages)

    def find_class(self, module: str, name: str, /) -> Any:
        """Return what stands for a global; nothing is imported."""
        module = _RENAMED.get(module, module)
        full = f"{module}.{name}"
        if full in _GLOBALS:
            return _GLOBALS[full]
        if any(module == package or module.startswith(f"{package}.") for package in self.packages):
            return type("Held", (Holder,), {"__module__": module, "__qualname__": name})
        raise RefusedError(
            f"it needs the global {full}, which is not on the list; if that is a class of its authors' network, "
            f"--own {module.partition('.')[0]} replaces it by one without code"
        )

    def persistent_load(self, pid: Any, /) -> object:
        """Return a storage as one row of numbers, or the class of a `module` record."""
        if isinstance(pid, tuple) and pid[:1] == ("module",):
            return pid[1]
        if not isinstance(pid, tuple) or pid[:1] != ("storage",):
            raise RefusedError("it refers to something that is no tensor")
        return self.storage(pid)


def _of_zip(file: BinaryIO, packages: Sequence[str]) -> object:
    """Read a file of torch.save since version 1.6, or of TorchScript."""
    with zipfile.ZipFile(file) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        if "data.pkl" not in names:
            raise RefusedError("it is a zip file without data.pkl, which torch has written since version 1.4")
        if "byteorder" in names and archive.read(names["byteorder"]) != b"little":
            raise RefusedError("its numbers are big-endian")
        kept: dict[str, Tensor] = {}

        def storage(pid: tuple[Any, ...]) -> Tensor:
            dtype, key = pid[1], str(pid[2])
            if key not in kept:
                kept[key] = torch.frombuffer(bytearray(archive.read(names[f"data/{key}"])), dtype=dtype)
            return kept[key]

        return _Unpickler(io.BytesIO(archive.read(names["data.pkl"])), storage, packages).load()


def _of_stream(file: BinaryIO, packages: Sequence[str]) -> object:
    """Read a file of torch.save before version 1.6: three headers, the object, then the numbers of each storage."""
    kept: dict[str, Tensor] = {}

    def storage(pid: tuple[Any, ...]) -> Tensor:
        dtype, key, numel, view = pid[1], str(pid[2]), pid[4], pid[5] if len(pid) > 5 else None
        whole = kept.setdefault(key, torch.empty(numel, dtype=dtype))
        return whole if view is None else whole[view[1] : view[1] + view[2]]

    def load() -> Any:
        return _Unpickler(file, storage, packages).load()

    if load() != _MAGIC:
        raise RefusedError("it was not written by torch.save")
    for _header in ("version of the format", "sizes of C's integers"):
        load()
    value = load()
    for key in load():
        count = int.from_bytes(file.read(8), "little")
        target = kept[str(key)]
        content = file.read(count * target.element_size())
        if count != target.numel() or len(content) != count * target.element_size():
            raise RefusedError("it is cut off")
        if count:
            target.copy_(torch.frombuffer(bytearray(content), dtype=target.dtype))
    return value


def _tensors(held: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield what `state_dict` of a module would: of a scripted one, all of its tensors."""
    if depth > _DEPTH:
        raise RefusedError(f"its modules are more than {_DEPTH} deep")
    if not isinstance(held, Holder):
        return
    state = held.state
    own: Mapping[str, object] = {**state.get("_parameters", {}), **state.get("_buffers", {})}
    children: Mapping[str, object] = state.get("_modules", {})
    if "_parameters" not in state:
        own = children = state
    passing = state.get("_non_persistent_buffers_set", ())
    for name, value in own.items():
        if isinstance(value, Tensor) and name not in passing:
            yield f"{prefix}{name}", value
    for name, child in children.items():
        yield from _tensors(child, f"{prefix}{name}.", depth + 1)


def state_of(content: object) -> dict[str, Tensor]:
    """Return the tensors of a module, or of the first module or dictionary of tensors in a checkpoint.

    Raises:
        RefusedError: there are none.
    """
    inside = [content[key] for key in _WRAPPERS if key in content] if isinstance(content, Mapping) else []
    for found in (*inside, content):
        if isinstance(found, Holder) and (tensors := dict(_tensors(found))):
            return tensors
        if isinstance(found, Mapping) and found and all(isinstance(value, Tensor) for value in found.values()):
            return {str(name): value for name, value in found.items()}
    raise RefusedError("it holds no module and no dictionary of tensors")


def read(path: str | Path, packages: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return the tensors of a file by name, each with memory of its own.

    Raises:
        RefusedError: it holds something else than modules and tensors.
    """
    with Path(path).open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        content = (_of_zip if zipped else _of_stream)(file, packages)
    return {name: value.detach().clone().contiguous() for name, value in state_of(content).items()}


def _limit(path: str) -> None:
    """Limit the memory, the time and the files of this process, once torch is loaded."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    size = Path(path).stat().st_size
    for limit, value in (
        (resource.RLIMIT_AS, used + 3 * size + _MEMORY),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 2 * size + _MEMORY),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def extract(path: str, result: str, *packages: str) -> int:
    """Read one file and write its tensors; a refusal is one line on standard error, and an exit code."""
    try:
        torch.save(read(path, packages), result)
    except RefusedError as error:
        reason = str(error)
    except MemoryError:
        reason = "it needs far more memory than its size"
    except Exception as error:  # whatever a damaged file can cause
        reason = f"it is damaged or was not written by torch ({type(error).__name__}: {error})"
    else:
        return 0
    sys.stderr.write(" ".join(reason.split()))
    return REFUSED


if __name__ == "__main__":
    _limit(sys.argv[1])
    sys.exit(extract(*sys.argv[1:]))
