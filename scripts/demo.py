"""`make demo`: export, serve, attack the live endpoint, report. Everything is real and is stopped at the end."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import skimage.data
from PIL import Image
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "model_store"
RUN = ROOT / "runs" / "demo"
PHOTOS = RUN / "photos"
BIN = Path(sys.executable).parent
LONGEST_SIDE = 384
SHARP = ("hubble_deep_field", "ihc", "motorcycle_left")
POOR = {"camera": 8, "motorcycle_right": 15, "coins": 25}
"""JPEG qualities of images with a low score, which an attacker would raise. `lite` was trained on none of the six."""
METRICS = "lite,niqe"
"""Both metrics that ship with weights: a small network, and one of statistics."""
ATTACKS = "fgsm,ifgsm,mifgsm,dct-threshold:iterations=10"
"""What an attacker with gradients does, without and with knowledge of the defence."""
EDITS = "free-jpeg,free-denoise,free-rescale"
"""What anybody can do, with neither."""
COPIES = "degraded-blur:strength=3,degraded-jpeg:strength=3"
"""Copies that are worse than their image: does a chain prefer them? `--degraded` makes all eighteen."""
BUILT = "blur,flip,jpeg,resize"
"""Defences to export: a few take seconds, `--defences all` takes minutes."""
DEFENCES = "none,flip,blur,resize,jpeg:quality=50"

console = Console(highlight=False)


def main() -> None:
    """Run the demo once."""
    started = time.monotonic()
    shutil.rmtree(RUN, ignore_errors=True)  # a run of an earlier version, whose archives were others
    step("1/4", "photographs (scikit-image's own, none of which lite was trained on)")
    write_photos()
    step("2/4", "export: two metrics and four defences to TorchScript, ONNX and archives that prove what they are")
    command("scoreguard-export", "build", "--metrics", METRICS, "--defences", BUILT, "--model-store", str(STORE))
    step("3/4", "serve: TorchServe and the gateway; attack: improve the scores of the live endpoint")
    with serving() as address:
        attack(address)
    say_how_to_go_on()
    step("4/4", "report")
    command("scoreguard", "report", str(RUN))
    console.print(f"[dim]{(time.monotonic() - started) / 60:.1f} minutes in all[/dim]")


def step(number: str, text: str) -> None:
    """Print the title of the next step."""
    console.print(f"\n[bold]{number}[/bold] {text}")


def write_photos() -> None:
    """Write photographs of at most 384 pixels a side as PNG: three unchanged, three after strong compression."""
    PHOTOS.mkdir(parents=True, exist_ok=True)
    for old in PHOTOS.glob("*.png"):
        old.unlink()
    folder = Path(skimage.data.__file__).parent
    for name in (*SHARP, *POOR):
        path = next(path for path in folder.glob(f"{name}.*") if path.suffix in {".png", ".jpg"})
        with Image.open(path) as photo:
            small = photo.convert("RGB")
            small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
            (compressed(small, POOR[name]) if name in POOR else small).save(PHOTOS / f"{name}.png")
    console.print(f"   {len(SHARP)} photographs and {len(POOR)} poor copies in {PHOTOS.relative_to(ROOT)}")


def compressed(photo: Image.Image, quality: int) -> Image.Image:
    """Return a photograph after JPEG compression."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def command(name: str, *words: str) -> None:
    """Run one of the project's own commands, shown as a user would type it."""
    typed = [word.removeprefix(f"{ROOT}/") for word in words]
    console.print(f"   [dim]$ {' '.join([name, *typed])}[/dim]", soft_wrap=True)
    code = subprocess.run([str(BIN / name), *words], cwd=ROOT, check=False).returncode
    if code:
        sys.exit(f"{name} ended with exit code {code}")


@contextmanager
def serving() -> Iterator[str]:
    """Start the service as a user does, on a free port; it is always stopped."""
    words = [str(BIN / "scoreguard-serve"), "--model-store", str(STORE), "--port", "0", "--json"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line:
                sys.exit("the service did not start; its message is above")
            ready = json.loads(line)
            console.print(f"   ready: ScoreDefended on {ready['address']} (backend {ready['backend']})")
            yield str(ready["address"])
        finally:
            server.terminate()
            server.wait(60)


def attack(address: str) -> None:
    """Attack each metric alone and through each defence, edit the images, and score worse copies of them."""
    where = ["--images", str(PHOTOS), "--out", str(RUN), "--target", address, "--surrogate", str(STORE)]
    attacks = ",".join([ATTACKS, EDITS, COPIES])
    what = ["--metric", METRICS, "--attacks", attacks, "--defences", DEFENCES, "--adaptive"]
    command("scoreguard", "attack", *what, *where)


def say_how_to_go_on() -> None:
    """Print what to try next."""
    console.print(
        "   the service is stopped; to go on:\n"
        "     .venv/bin/scoreguard-serve --model-store model_store\n"
        "     .venv/bin/scoreguard score photo.png --metric lite --defence jpeg:quality=50 --undefended\n"
        "     .venv/bin/scoreguard attack --metric lite --attacks ifgsm --images DIR --out runs/mine"
    )


if __name__ == "__main__":
    main()
