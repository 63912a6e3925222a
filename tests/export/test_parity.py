"""The parity check: it passes right graphs, and catches each way of being wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from export_samples import Contrast, Dented, Deviation, FrozenSize, Gamma, Grainy, Guarded, Unguarded

from scoreguard_export.archive.parity import check_parity, gradient_cases, parity_cases
from scoreguard_export.archive.parity_images import PATTERNS, patterns, photographs
from scoreguard_export.defences.base import Defence, Differentiability
from scoreguard_export.defences.blur import Blur
from scoreguard_export.defences.catalogue import CATALOGUE
from scoreguard_export.defences.diffpure_finish import EdgeFinish, UnsharpFinish
from scoreguard_export.errors import ModuleError, ParityError
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import Content, describe, export_case
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.graph_module import GraphModule

CLASSICAL = [name for name, kind in CATALOGUE.items() if not kind.sources]
"""Those without a network. The learned ones are compared in their own files, with weights that are generated."""
PARTS = [
    *(CATALOGUE[name](**variant) for name in CLASSICAL for variant in CATALOGUE[name].facts.variants()),
    EdgeFinish(),
    UnsharpFinish(),
]
Export = Callable[[GraphModule], tuple[Path, Path]]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Write both graphs of a module, once for each module."""
    home = tmp_path_factory.mktemp("graphs")

    def write(module: GraphModule) -> tuple[Path, Path]:
        name = f"{type(module).__name__} {describe(module)}"
        script, graph = home / f"{name}.pt", home / f"{name}.onnx"
        if not graph.exists():
            export_torchscript(module.eval(), script)
            export_onnx(module.eval(), graph)
        return script, graph

    return write


@pytest.mark.parametrize("defence", [Blur(), EdgeFinish(), UnsharpFinish()], ids=describe)
def test_a_defence_is_the_same_in_both_engines(defence: Defence, export: Export) -> None:
    """It agrees at every case, within the tolerance that its facts declare; all others: test_defence_catalogue.py."""
    records = check_parity(defence.eval(), *export(defence))
    assert {record.engine for record in records} == {"torchscript", "onnx"}
    assert len(records) == 2 * len(parity_cases(defence))
    assert all(record.max_abs_error <= record.tolerance for record in records)
    for parameter in defence.facts.graph_parameters:
        tried = {record.parameters[parameter.name] for record in records if record.parameters}
        assert {parameter.minimum, parameter.maximum} <= tried


@pytest.mark.parametrize("module", [Contrast(), Grainy()])
def test_metrics_and_random_defences_are_compared_too(module: GraphModule, export: Export) -> None:
    """Scores, and purifications that take randomness."""
    records = check_parity(module.eval(), *export(module))
    assert len(records) == 2 * len(parity_cases(module))


@pytest.mark.parametrize("module", [Contrast(), *PARTS], ids=describe)
def test_no_case_has_the_size_of_the_export(module: GraphModule) -> None:
    """Odd, not square, the smallest allowed, batches of 1 and 3, and never the captured height or width."""
    captured, cases = export_case(module), parity_cases(module)
    assert all(case.height != captured.height and case.width != captured.width for case in cases)
    assert {case.batch for case in cases} == {1, 3, len(PATTERNS)}
    assert any(case.height % 2 and case.width % 2 and case.height != case.width for case in cases)
    least = module.facts.minimum_size
    assert min(case.height for case in cases) == min(case.width for case in cases) == least


def test_the_images_are_seeded_and_use_the_whole_range() -> None:
    """The same seed gives the same images, another seed others; shadows, highlights and texture are present."""
    first, again, other = (photographs(3, 17, 37, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 3, 17, 37)
    assert float(first.min()) == 0.0
    assert float(first.max()) > 0.9
    assert float(first.std()) > 0.1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 16), (73, 49)])
def test_plain_images_are_what_they_are_called(height: int, width: int) -> None:
    """Every pattern at any size, in 8-bit levels: flat ones have one colour, gradients use the whole range."""
    drawn = dict(zip(PATTERNS, patterns(height, width, 0), strict=True))
    levels = patterns(height, width, 0) * 255.0
    assert torch.equal(patterns(height, width, 0), patterns(height, width, 0))
    assert float((levels - levels.round()).abs().max()) < 1e-4
    for name in ("flat black", "flat white", "flat mid-grey", "flat red"):
        assert len(drawn[name].flatten(1).unique(dim=1).T) == 1, name
    assert float(drawn["flat black"].max()) == 0.0
    assert float(drawn["flat white"].min()) == 1.0
    if height > 1:
        (common, odd), counts = drawn["one-pixel"][0].unique(return_counts=True)
        assert float(common) < float(odd)
        assert counts.tolist() == [height * width - 1, 1]
        for name in ("horizontal gradient", "vertical gradient", "checkerboard", "striped", "page-of-text"):
            assert (float(drawn[name].min()), float(drawn[name].max())) == (0.0, 1.0), name
        assert len(drawn["horizontal gradient"][0].unique(dim=0)) == 1
        assert len(drawn["vertical gradient"][0].unique(dim=1).T) == 1
        assert len(drawn["two-level noise"].unique()) == 2
        assert float(drawn["page-of-text"].mean()) > 0.7


@pytest.mark.parametrize("defence", PARTS, ids=describe)
def test_gradients_are_compared_at_every_setting(defence: Defence) -> None:
    """At the defaults and at both ends of every parameter; nowhere if the gradient is not the graph's."""
    cases = gradient_cases(defence)
    if defence.facts.differentiability is Differentiability.BPDA_IDENTITY:
        assert cases == []
        return
    assert {case.content for case in cases} == set(Content)
    for parameter in defence.facts.graph_parameters:
        tried = {case.parameters[parameter.name] for case in cases if case.parameters}
        assert {parameter.minimum, parameter.maximum} <= tried


@pytest.mark.parametrize("module", [Contrast(), *PARTS], ids=describe)
def test_every_setting_meets_plain_images(module: GraphModule) -> None:
    """The defaults, and each graph parameter at its minimum and at its maximum."""
    cases = [case for case in parity_cases(module) if case.content is Content.PATTERNS]
    assert {} in [case.parameters for case in cases]
    if isinstance(module, Defence):
        for parameter in module.facts.graph_parameters:
            tried = {case.parameters[parameter.name] for case in cases if case.parameters}
            assert {parameter.minimum, parameter.maximum} <= tried


def test_a_metric_without_a_number_for_some_image_is_refused(export: Export) -> None:
    """The module is blamed, not its graphs, and the image is named."""
    with pytest.raises(ModuleError, match="the module's score is not finite on the flat black image") as caught:
        check_parity(Deviation().eval(), *export(Deviation()))
    assert "graph" not in str(caught.value)
    assert str(caught.value).startswith("deviation at 13×3×16×16")
    assert "\n" not in str(caught.value)


def test_a_gradient_that_is_not_finite_is_the_modules_fault(export: Export) -> None:
    """The gradient of x^γ is finite at its default, and not on black at γ = 0.2: setting and image are named."""
    with pytest.raises(ModuleError, match=r"gamma=0\.2.*the module's gradient is not finite on the .* image") as caught:
        check_parity(Gamma().eval(), *export(Gamma()))
    assert "differs" not in str(caught.value)


def test_a_graph_without_a_number_for_some_image_is_refused(export: Export, tmp_path: Path) -> None:
    """A graph whose guard was lost gives NaN on black where the module gives a number: the graph is blamed."""
    check_parity(Guarded().eval(), *export(Guarded()))
    export_onnx(Unguarded().eval(), tmp_path / "graph.onnx")
    script, _ = export(Guarded())
    with pytest.raises(ParityError, match=r"onnx graph of deviation .*its score is not finite on the flat black image"):
        check_parity(Guarded().eval(), script, tmp_path / "graph.onnx")


def test_a_module_that_fails_is_named(export: Export) -> None:
    """One line, not the exception of the library."""

    class Failing(Contrast):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise IndexError("no such channel,\nnone at all")

    with pytest.raises(ModuleError, match=r"contrast at .*the module fails to run: no such channel, none") as caught:
        check_parity(Failing().eval(), *export(Contrast()))
    assert "\n" not in str(caught.value)


def test_a_module_without_any_gradient_is_told_from_its_graph(export: Export, tmp_path: Path) -> None:
    """A graph that cuts the gradient off where the module has one is refused by name, not by torch's exception."""

    class Cut(Grainy):
        def forward(
            self, image: torch.Tensor, strength: torch.Tensor, noise: torch.Tensor, level: torch.Tensor
        ) -> torch.Tensor:
            return super().forward(image.detach(), strength, noise.detach(), level)

    export_torchscript(Cut().eval(), tmp_path / "graph.pt")
    _, graph = export(Grainy())
    with pytest.raises(ParityError, match="the gradient differs by 1 of"):
        check_parity(Grainy().eval(), tmp_path / "graph.pt", graph)


def test_a_trace_with_a_frozen_size_is_caught(export: Export, tmp_path: Path) -> None:
    """The score of a graph that divides by the captured size is refused; the error says where and by how much."""
    module = FrozenSize().eval()
    export_torchscript(module, tmp_path / "graph.pt")
    _, graph = export(Contrast())
    with pytest.raises(ParityError) as caught:
        check_parity(module, tmp_path / "graph.pt", graph)
    assert caught.value.engine == "torchscript"
    assert caught.value.module == "frozen"
    message = str(caught.value)
    assert "1×3×16×16" in message
    assert "allowed 0.0001" in message
    assert "\n" not in message


def test_the_graph_of_another_variant_is_caught(export: Export) -> None:
    """An ONNX file of kernel 5 does not pass for kernel 3; the variant is named."""
    script, _ = export(Blur(kernel=3.0))
    _, graph = export(Blur(kernel=5.0))
    with pytest.raises(ParityError, match=r"onnx graph of blur \(kernel=3\) differs") as caught:
        check_parity(Blur(kernel=3.0).eval(), script, graph)
    assert caught.value.engine == "onnx"


def test_a_graph_that_does_not_take_the_inputs_is_caught(export: Export) -> None:
    """A graph with other inputs fails to run, and that is said in one line."""
    script, _ = export(Contrast())
    _, graph = export(Blur())
    with pytest.raises(ParityError, match="it fails to run") as caught:
        check_parity(Contrast().eval(), script, graph)
    assert "\n" not in str(caught.value)


def test_another_shape_is_caught(export: Export) -> None:
    """A graph that halves the image does not pass for one that keeps it."""
    shrunk = CATALOGUE["resize"]()

    class Pretender(Defence):
        facts = shrunk.facts

        def forward(self, image: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return image + 0.0 * scale

    with pytest.raises(ParityError, match=r"it gives torch.float32 \(1, 3, 1, 1\)"):
        check_parity(Pretender().eval(), *export(shrunk))


def test_a_torchscript_without_the_gradient_is_caught(export: Export, tmp_path: Path) -> None:
    """The same values with another gradient are refused: attacks differentiate this file."""
    export_torchscript(Dented().eval(), tmp_path / "graph.pt")
    _, graph = export(Grainy())
    with pytest.raises(ParityError, match="the gradient differs"):
        check_parity(Grainy().eval(), tmp_path / "graph.pt", graph)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_caught(wrong: float, export: Export, tmp_path: Path) -> None:
    """A NaN compares false with any tolerance, so it is looked for by name."""

    class Spoilt(Contrast):
        def __init__(self) -> None:
            super().__init__()
            self.spoil = wrong

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return super().forward(image) * self.spoil

    export_torchscript(Spoilt().eval(), tmp_path / "graph.pt")
    _, graph = export(Contrast())
    with pytest.raises(ParityError, match="not finite"):
        check_parity(Contrast().eval(), tmp_path / "graph.pt", graph)


@pytest.mark.parametrize("engine", ["torchscript", "onnx"])
@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_a_file_that_is_no_graph_is_caught(engine: str, content: bytes, export: Export, tmp_path: Path) -> None:
    """An empty or foreign file is named by its engine, in one line."""
    broken = tmp_path / "broken"
    broken.write_bytes(content)
    script, graph = export(Grainy())
    files = (broken, graph) if engine == "torchscript" else (script, broken)
    with pytest.raises(ParityError, match=f"{engine} graph of grainy differs from the module at load") as caught:
        check_parity(Grainy().eval(), *files)
    assert "\n" not in str(caught.value)
