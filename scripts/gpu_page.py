"""Write the measured part of docs/gpu.md from the results of `gpu_check.py` that are committed.

    python scripts/gpu_page.py
    python scripts/gpu_page.py --check

The results are `benchmarks/results/gpu-NAME.json`. Only what lies between the two marks of the page is replaced; the
rest is written by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gpu import bring

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs/gpu.md"
RESULTS: Final = ROOT / "benchmarks/results"
COMMAND: Final = "python scripts/gpu_check.py --model-store store.tar.xz --wheels wheels --budget {budget:g}"
_BEGIN: Final = "<!-- measured: begin -->"
_END: Final = "<!-- measured: end -->"
_NOTHING: Final = """\
**Not measured on a GPU yet.** Only what a CPU can show was tried: the check itself runs in the tests with
`--device cpu --quick`, and its first sections on a second device of torch that computes on the CPU. The commands below
measure."""


class PageError(Exception):
    """The page or a result cannot be used; the message says which."""


def measured(folder: Path) -> str:
    """Return the measured part of the page.

    Raises:
        PageError: a file is no result, or one of a quick run.
    """
    found = [(path, _read(path)) for path in sorted(folder.glob("gpu-*.json"))]
    if not found:
        return _NOTHING
    from gpu.tables import tables

    return "\n\n".join(tables(result, COMMAND.format(budget=result["budget_seconds"])) for _, result in found)


def page_with(text: str, part: str) -> str:
    """Return the page with another measured part.

    Raises:
        PageError: the page lacks the marks.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise PageError(f"{PAGE} lacks {_BEGIN} and {_END}: write them where the tables belong")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def _read(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        quick = result["quick"]
    except (ValueError, KeyError, TypeError) as error:
        raise PageError(f"{path} is no result of gpu_check.py") from error
    if quick:
        raise PageError(f"{path} is of a quick run, whose speeds mean nothing; run gpu_check.py without --quick")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the page; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Write nothing; exit with 1 if the page is out of date.")
    options = parser.parse_args(argv)
    bring.use(bring.source_folders())
    try:
        text = PAGE.read_text(encoding="utf-8")
        made = page_with(text, measured(RESULTS))
    except (PageError, OSError) as error:
        print(f"gpu_page: {error}", file=sys.stderr)
        return 2
    if options.check:
        return int(made != text)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
