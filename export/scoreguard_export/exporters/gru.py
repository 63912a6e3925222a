"""The gated recurrent unit of `recurrent` as the operator that ONNX has for it."""

from __future__ import annotations

from typing import Any, Final

from onnxscript import opset20

_OPERATORS: Final[Any] = opset20
"""Their annotations are narrower than what they take while a graph is written."""


def _onnx_order(tensor: Any) -> Any:
    """Gates of torch (r, z, n) → those of ONNX (z, r, n), for one direction."""
    size = tensor.shape[0] // 3
    order = [*range(size, 2 * size), *range(size), *range(2 * size, 3 * size)]
    rows = _OPERATORS.Gather(tensor, _OPERATORS.Constant(value_ints=order), axis=0)
    return _OPERATORS.Unsqueeze(rows, _OPERATORS.Constant(value_ints=[0]))


def onnx_gru(sequence: Any, inputs: Any, states: Any, bias: Any, state_bias: Any) -> Any:
    """Write the operator of ONNX; it takes the steps first, and gives (T, 1, N, S)."""
    found, _ = _OPERATORS.GRU(
        _OPERATORS.Transpose(sequence, perm=[1, 0, 2]),
        _onnx_order(inputs),
        _onnx_order(states),
        _OPERATORS.Concat(_onnx_order(bias), _onnx_order(state_bias), axis=1),
        hidden_size=states.shape[1],
        linear_before_reset=1,
    )
    return _OPERATORS.Transpose(_OPERATORS.Squeeze(found, _OPERATORS.Constant(value_ints=[1])), perm=[1, 0, 2])
