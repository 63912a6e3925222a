"""Score every image of a folder behind a chain, as CSV: `python score_folder.py photos --metric lite > scores.csv`.

Needs only the base installation. Images travel over one stream, so memory is bounded for a folder of any size.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from scoreguard.images import image_files
from scoreguard_client import ScoreguardError, ScoringClient


def main() -> int:
    """Write one line for each image; return 1 if one could not be scored, 2 if the service could not be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of images; folders in it count as well")
    parser.add_argument("--target", default="localhost:50051", help="host:port of the service")
    parser.add_argument("--metric", required=True, help="name of a deployed metric; `scoreguard catalogue` lists them")
    parser.add_argument("--chain", default="", help="for example jpeg:quality=50+flip; nothing = undefended")
    options = parser.parse_args()
    paths = image_files(options.folder, recursive=True)
    table = csv.writer(sys.stdout)
    table.writerow(["image", "score", "undefended", "error"])
    failed = 0
    try:
        with ScoringClient(options.target) as client:
            outcomes = client.score_stream(
                paths, metric=options.metric, defences=options.chain, return_undefended=bool(options.chain)
            )
            # Outcomes arrive in the order of the paths, each a score or the error of that one image.
            for path, outcome in zip(paths, outcomes, strict=True):
                name = path.relative_to(options.folder).as_posix()
                if isinstance(outcome, ScoreguardError):
                    failed += 1
                    table.writerow([name, "", "", outcome])
                else:
                    table.writerow([name, outcome.score, outcome.undefended_score, ""])
    except ScoreguardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
