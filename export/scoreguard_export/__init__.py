"""Build time: metrics and defences, exported to self-verifying archives."""

from __future__ import annotations

import os

# The wheels of ONNX Runtime send telemetry unless it is disabled before the first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
