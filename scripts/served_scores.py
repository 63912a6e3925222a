"""Print a service's answers to the last bit, to compare before and after a change that must not alter a score.

    scoreguard-serve --model-store built --backend local &
    python scripts/served_scores.py localhost:50051 > before.json

Five images behind every deployed defence, alone and before `jpeg`: score and undefended score as hexadecimal floats,
and the digest of the purified image. Everything is seeded: equal services print equal files.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator

import numpy as np
import skimage.data

from scoreguard_client import MetricDescription, ScoringClient
from scoreguard_client._models import FloatImage

SEED = 20261127


def images() -> Iterator[tuple[str, FloatImage]]:
    """Images (H, W, 3) in [0, 1]: four photographs and noise, of different sizes, small enough for every defence."""
    for number, name in enumerate(("astronaut", "coffee", "chelsea", "retina")):
        photo = getattr(skimage.data, name)()
        yield name, (photo[5 : 265 + 9 * number, 20 : 330 - 7 * number, :3] / 255).astype(np.float32)
    yield "noise", np.random.default_rng(SEED).random((261, 293, 3), dtype=np.float32)


def chains(metric: MetricDescription) -> Iterator[str]:
    """Yield the chains: no defence, each defence alone, and each before jpeg."""
    yield ""
    for defence in metric.defences:
        yield defence.name
        yield f"{defence.name}+jpeg:quality=60"


def main(target: str) -> None:
    """Print the answers as JSON."""
    answers = {}
    with ScoringClient(target) as client:
        for metric in client.list_metrics().metrics:
            for chain in chains(metric):
                for name, image in images():
                    score = client.score(
                        image,
                        metric=metric.name,
                        defences=chain,
                        seed=SEED,
                        return_undefended=True,
                        return_purified=True,
                        timeout=600,
                    )
                    purified = b"" if score.purified is None else score.purified.tobytes()
                    answers[f"{metric.name} {chain or 'none'} {name}"] = [
                        score.score.hex(),
                        None if score.undefended_score is None else score.undefended_score.hex(),
                        hashlib.sha256(purified).hexdigest(),
                    ]
    json.dump(answers, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1])
