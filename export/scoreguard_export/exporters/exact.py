"""Carry a module's constants into its ONNX graph to the last bit.

By default, torch's exporter and its optimiser lose constants in two ways. The optimiser drops a term within 1e-8 of 0
and a factor within 1e-5 of 1 as if they were 0 and 1, so an epsilon that guards a division vanishes. And a number used
with double precision passes through single precision, where 0.1 becomes 0.10000000149 and 1e-50 becomes 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from onnxscript import ir, opset20
from onnxscript.rewriter import _matcher, _pattern_ir

from scoreguard_export.exporters.gru import onnx_gru
from scoreguard_export.recurrent import OPERATOR


@contextlib.contextmanager
def exact_patterns() -> Iterator[None]:
    """Let the optimiser's rules match only equal numbers, not near ones."""
    matcher: Any = _matcher.SimplePatternMatcher
    original = matcher._match_constant

    def match(self: Any, pattern: Any, value: Any) -> Any:
        return original(self, _pattern_ir.Constant(pattern.value, rel_tol=0.0, abs_tol=0.0), value)

    matcher._match_constant = match
    try:
        yield
    finally:
        matcher._match_constant = original


def _scalar_tensor(s: Any, dtype: int = 1, layout: str = "", device: str = "", pin_memory: bool = False) -> Any:
    """Write a number in the type that it is used in; a value known only at run time is converted in the graph."""
    del layout, device, pin_memory
    if isinstance(s, int | float):
        number: Any = ir.tensor(s, dtype=ir.DataType(dtype))
        return opset20.Constant(value=number)
    return opset20.Cast(s, to=dtype)


TRANSLATIONS: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    torch.ops.aten.scalar_tensor.default: _scalar_tensor,
    OPERATOR: onnx_gru,
}
"""Replacements for `torch.onnx.export`'s own translations."""
