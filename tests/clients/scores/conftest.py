"""The benchmark that measures intervals is imported by their tests: what is measured is what is tested."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
