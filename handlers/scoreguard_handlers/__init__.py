"""Run time, server side: the chain, its TorchServe entry, and the gRPC gateway."""

from __future__ import annotations

import os

# ONNX Runtime's wheels send telemetry to their vendor unless it is switched off before the first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
