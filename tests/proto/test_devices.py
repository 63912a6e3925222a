"""Devices by their names, and how they compute."""

from __future__ import annotations

import builtins
import io
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from second_device import SECOND_DEVICE, second_device

from scoreguard.chain import devices
from scoreguard.chain.devices import THE_CPU, find_device, gpu_count, versions
from scoreguard.chain.graph_devices import move_graph
from scoreguard.chain.numerics import FP16, Numerics, unrepeatable
from scoreguard.v1.errors import ContractError, DeviceError

CUDA_BUILD = torch.version.cuda is not None


@pytest.fixture(autouse=True)
def _no_memory() -> Iterator[None]:
    devices._found.cache_clear()
    yield
    devices._found.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, **cuda: Any) -> None:
    """Let torch report a CUDA build; the keywords replace functions of `torch.cuda`."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)


def raising(message: str) -> Any:
    """A function that raises torch's RuntimeError."""

    def fail(*args: Any) -> None:
        raise RuntimeError(message)

    return fail


def test_the_cpu_needs_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on the CPU may have none."""
    real = builtins.__import__

    def no_torch(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    assert find_device("cpu") == THE_CPU
    automatic = find_device("auto")
    assert automatic.is_cpu
    assert automatic.note == "auto chose the CPU, since torch, which runs graphs there, is not installed"
    assert gpu_count() == 0
    with pytest.raises(DeviceError, match="not installed; pip install torch, or choose device 'cpu'"):
        find_device("cuda")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toaster", "device 'toaster': there is no device of that name; choose auto, cpu, cuda or cuda:N"),
        ("", "device '': there is no device of that name; choose auto, cpu, cuda or cuda:N"),
        ("cuda:x", "device 'cuda:x': there is no device of that name; choose auto, cpu, cuda or cuda:N"),
        ("cpu:1", "device 'cpu:1': there is one CPU; choose 'cpu'"),
        ("meta", "device 'meta': it cannot be used: "),
    ],
)
def test_a_device_that_cannot_be_used_is_one_line(name: str, message: str) -> None:
    """Unknown, without numbers, or not there."""
    with pytest.raises(ContractError) as caught:
        find_device(name)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(CUDA_BUILD, reason="this torch has CUDA")
def test_a_torch_without_cuda_says_what_to_install() -> None:
    """The most frequent reason."""
    with pytest.raises(DeviceError) as caught:
        find_device("cuda:0")
    assert str(caught.value) == (
        f"device 'cuda:0': torch {torch.__version__} is built without CUDA; "
        "install a build of torch for CUDA, or choose device 'cpu'"
    )
    assert find_device("auto").note == f"auto chose the CPU, since torch {torch.__version__} is built without CUDA"


@pytest.mark.parametrize(
    ("cause", "environment", "message"),
    [
        (
            "The NVIDIA driver on your system is too old (found version 11040). Please update\nmore",
            {},
            "needs a driver for CUDA 13.0, and this one is older; update the NVIDIA driver, or install torch for an",
        ),
        ("Found no NVIDIA driver on your system. Please", {}, "no NVIDIA driver was found; install one, or choose"),
        ("", {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES='' hides every GPU; unset it"),
        ("CUDA unknown error - this may be", {}, "no GPU can be used: CUDA unknown error - this may be; choose"),
    ],
)
def test_a_gpu_that_cannot_be_reached_says_why(
    monkeypatch: pytest.MonkeyPatch, cause: str, environment: Mapping[str, str], message: str
) -> None:
    """Torch's own messages, turned into what to do."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    pretend(monkeypatch, is_available=lambda: False, init=raising(cause))
    with pytest.raises(DeviceError) as caught:
        find_device("cuda")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gpu_beyond_the_last_lists_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the right index can be copied."""
    pretend(
        monkeypatch,
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_name=lambda index: f"Test GPU {index}",
    )
    with pytest.raises(DeviceError, match=r"there is no GPU 3; choose one of cuda:0 Test GPU 0, cuda:1 Test GPU 1$"):
        find_device("cuda:3")


def test_auto_takes_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so, with its name."""
    facts = SimpleNamespace(name="Test GPU", total_memory=80 * 2**30)
    pretend(monkeypatch, is_available=lambda: True, device_count=lambda: 1, get_device_properties=lambda device: facts)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: self)
    found = find_device("auto")
    assert (found.name, found.index, gpu_count()) == ("cuda:0", 0, 1)
    assert found.announcement == "device cuda:0 (Test GPU, 80 GiB): auto chose the first GPU"
    assert versions(found)["gpu"] == "Test GPU, 80 GiB"


def test_any_device_of_torch_can_be_named() -> None:
    """Nothing knows CUDA alone."""
    second_device()
    found = find_device("lazy")
    assert (found.name, found.kind, found.is_cpu) == (SECOND_DEVICE, "lazy", False)
    assert found.torch == torch.device(SECOND_DEVICE)
    assert versions(found) == {"device": SECOND_DEVICE}
    assert versions(THE_CPU) == {}


FACTORS = torch.tensor([0.5, 0.25, 2.0]).reshape(1, 3, 1, 1)


def moves(image: torch.Tensor) -> torch.Tensor:
    """A function whose traced graph creates a tensor on the tracer's device, and holds a constant there."""
    columns = torch.arange(image.shape[3], device=image.device)
    return image * FACTORS + columns


def test_what_a_trace_wrote_into_the_code_moves_too() -> None:
    """Torch moves weights only: a traced graph would mix devices."""
    device, image = second_device(), torch.rand(1, 3, 4, 5)
    traced = torch.jit.trace(moves, torch.rand(1, 3, 4, 5))  # type: ignore[no-untyped-call]
    assert 'value="cpu"' in str(traced.graph)
    module = torch.jit.load(io.BytesIO(traced.save_to_buffer()))  # type: ignore[no-untyped-call]
    moved = move_graph(module, device)(image.to(device))
    assert moved.device == device
    assert torch.equal(moved.cpu(), moves(image))


SETTINGS: dict[str, Callable[[], object]] = {
    "deterministic": torch.are_deterministic_algorithms_enabled,
    "tf32": lambda: (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
    "benchmark": lambda: torch.backends.cudnn.benchmark,
}


def settings() -> dict[str, object]:
    """Torch's settings of this process."""
    return {name: read() for name, read in SETTINGS.items()}


@pytest.mark.parametrize("numerics", [Numerics(), Numerics(deterministic=False, tf32=True)])
def test_settings_hold_within_the_block_only(monkeypatch: pytest.MonkeyPatch, numerics: Numerics) -> None:
    """The process may be a caller's."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = settings()
    with numerics.applied(torch.device("cuda")), numerics.applied(torch.device("cuda")):
        assert settings() == {
            "deterministic": numerics.deterministic,
            "tf32": (numerics.tf32, numerics.tf32),
            "benchmark": False,
        }
    assert settings() == before


def test_the_cpu_is_left_alone() -> None:
    """Its results repeat anyway."""
    before = settings()
    with Numerics(tf32=True).applied(torch.device("cpu")):
        assert settings() == before


def test_a_thread_that_computes_otherwise_waits() -> None:
    """The settings are the process's: two kinds cannot hold at the same time."""
    device, seen = torch.device("cuda"), []
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait(10)
        with Numerics(tf32=True).applied(device):
            seen.append(done.is_set())

    thread = threading.Thread(target=other)
    thread.start()
    with Numerics().applied(device):
        inside.set()
        thread.join(0.2)
        done.set()
    thread.join(10)
    assert seen == [True]


def test_half_precision_is_mixed_and_ends_with_the_block() -> None:
    """Products in half, sums in single precision."""
    left, right = torch.rand(4, 4), torch.rand(4, 4)
    with Numerics(precision=FP16).applied(torch.device("cpu")):
        assert (left @ right).dtype == torch.float16
        assert (left + right).dtype == torch.float32
    assert (left @ right).dtype == torch.float32
    assert str(Numerics(precision=FP16, tf32=True)) == "deterministic, fp16, TF32"


def test_half_precision_includes_the_convolutions_of_traced_graphs() -> None:
    """They have another name there, which torch leaves in single precision on the CPU."""
    image, layer = torch.rand(1, 3, 8, 8), torch.nn.Conv2d(3, 4, 3, bias=False).requires_grad_(False)
    traced = torch.jit.trace(layer, image)  # type: ignore[no-untyped-call]
    with Numerics(precision=FP16).applied(torch.device("cpu")):
        narrow = traced(image.requires_grad_())
    assert narrow.dtype == torch.float16
    assert torch.equal(narrow, torch.nn.functional.conv2d(image.half(), layer.weight.half()))
    (slope,) = torch.autograd.grad(narrow.float().sum(), image)
    assert slope.dtype == torch.float32
    assert traced(image).dtype == torch.float32


def test_operations_without_a_repeatable_kernel_are_named() -> None:
    """Torch warns about them; other warnings pass on."""
    operation = "upsample_bilinear2d_backward_out_cuda"
    with pytest.warns(UserWarning, match="^something else"), unrepeatable() as names:
        for _ in range(2):
            warnings.warn(
                "upsample_bilinear2d_backward_out_cuda does not have a deterministic implementation, but", stacklevel=1
            )
        warnings.warn("something else", stacklevel=1)
    assert names == [operation]
