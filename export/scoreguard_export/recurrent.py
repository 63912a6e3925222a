"""A gated recurrent unit over a sequence of any length, in every engine, whose states do not depend on the batch.

`torch.nn.GRU` computes all images of a batch in one matrix product, whose sums change with their number. And torch's
ONNX exporter writes out its steps one by one, which fixes their number. Here every image is summed row by row, the loop
stays a loop in TorchScript, and ONNX gets its own operator (`exporters.gru`).

    r = σ(W_r x + b_r + V_r h + c_r),   z = σ(W_z x + b_z + V_z h + c_z)
    n = tanh(W_n x + b_n + r (V_n h + c_n)),   h ← (1 − z) n + z h,   from h = 0
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn


@torch.jit.script_if_tracing  # type: ignore[untyped-decorator]
def _loop(sequence: Tensor, inputs: Tensor, states: Tensor, bias: Tensor, state_bias: Tensor) -> Tensor:
    """(N, T, I) → (N, T, S), one step after the other; `inputs` is (3 S, I), `states` is (3 S, S)."""
    size = states.shape[1]
    state = sequence.new_zeros((sequence.shape[0], size))
    found = []
    for step in range(sequence.shape[1]):
        given = (sequence[:, step].unsqueeze(1) * inputs).sum(dim=2) + bias
        kept = (state.unsqueeze(1) * states).sum(dim=2) + state_bias
        reset = torch.sigmoid(given[:, :size] + kept[:, :size])
        update = torch.sigmoid(given[:, size : 2 * size] + kept[:, size : 2 * size])
        new = torch.tanh(given[:, 2 * size :] + reset * kept[:, 2 * size :])
        state = (1.0 - update) * new + update * state
        found.append(state)
    return torch.stack(found, dim=1)


@torch.library.custom_op("scoreguard::gru", mutates_args=())
def _operator(sequence: Tensor, inputs: Tensor, states: Tensor, bias: Tensor, state_bias: Tensor) -> Tensor:
    """Compute the same; the exporter keeps it whole."""
    found: Tensor = _loop(sequence, inputs, states, bias, state_bias)
    return found


@_operator.register_fake
def _shape(sequence: Tensor, inputs: Tensor, states: Tensor, bias: Tensor, state_bias: Tensor) -> Tensor:
    del inputs, bias, state_bias
    return sequence.new_empty(sequence.shape[0], sequence.shape[1], states.shape[1])


OPERATOR: Final = torch.ops.scoreguard.gru.default
"""What the exporter finds in a captured module."""


def gru(sequence: Tensor, layer: nn.GRU) -> Tensor:
    """(N, T, inputs) → (N, T, states) by the weights of a layer with one direction; T is at least 1."""
    weights = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0
    states: Tensor = (_operator if torch.compiler.is_exporting() else _loop)(sequence, *weights)
    return states
