"""Attack a service that you run, to measure what its chain is worth: `python attack_service.py photos model_store out`.

Needs `pip install 'scoreguard[attacks]'` and the model store that the service serves, for gradients. Rerun the same
command to resume the run in `out`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scoreguard_client import ScoreguardError, ScoringClient
from scoreguard_client.campaign import CampaignError, CampaignOptions, RunError, Runner, launch
from scoreguard_client.progress import Progress
from scoreguard_client.report import make_report


def start(runner: Runner) -> Progress:
    """Called once the plan is made; the object it returns is notified of each finished piece of work."""
    return lambda records, what: print(f"{records} records: {what}", file=sys.stderr)


def main() -> int:
    """Run the campaign and print its table: one line for each attack and chain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="folder of images to attack")
    parser.add_argument("surrogate", type=Path, help="archive or model store to take gradients from")
    parser.add_argument("out", type=Path, help="folder of the run")
    parser.add_argument("--target", default="localhost:50051", help="host:port of the service")
    parser.add_argument("--metric", default="", help="name of a deployed metric; nothing = the only one")
    parser.add_argument("--attack", default="ifgsm:eps=4/255", help="`scoreguard attacks` lists them")
    parser.add_argument("--chain", default="jpeg:quality=50", help="the chain to attack")
    given = parser.parse_args()
    options = CampaignOptions(
        metric=given.metric,
        attacks=given.attack,
        defences=f"none,{given.chain}",  # undefended first: the baseline for the chain
        adaptive=True,  # also attack through the chain itself, since an attacker may know it
        images=given.images,
        surrogate=given.surrogate,
        out=given.out,
    )
    try:
        with ScoringClient(given.target) as client:
            summary = launch(options, client, start)
        report = make_report(given.out)
    except (ScoreguardError, CampaignError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in report.rows:
        gain = row.scores["absolute_gain"].value
        knowing = ", knowing the chain" if row.adaptive else ""
        print(f"{report.attack_name(row.attack)}{knowing} | {report.label(row.chain)} | gain {gain:.3f} of the range")
    print(f"The page with the images: {report.folder / 'index.html'}")
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
