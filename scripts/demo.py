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

from scoreguard_client.report import TableOptions, read_reports
from scoreguard_client.report.conclusions import sentences

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "model_store"
RUN = ROOT / "runs" / "demo"
PHOTOS = RUN / "photos"
BIN = Path(sys.executable).parent
LONGEST_SIDE = 384
SHARP = ("hubble_deep_field", "ihc", "motorcycle_left")
POOR = {"camera": 8, "motorcycle_right": 15, "coins": 25}
"""JPEG qualities of images with a low score, which an attacker would raise. `lite` was trained on none of the six."""
ATTACKS = "fgsm,ifgsm,mifgsm"
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
    step("2/4", "export: lite and four defences to TorchScript, ONNX and an archive that proves what it is")
    command("scoreguard-export", "build", "--metrics", "lite", "--defences", BUILT, "--model-store", str(STORE))
    step("3/4", "serve: TorchServe and the gateway; attack: raise the score of the live endpoint")
    with serving() as address:
        attack(address)
    step("4/4", "report")
    command("scoreguard", "report", str(RUN))
    say_what_next(time.monotonic() - started)
    conclude()


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
    """Run white-box attacks on the metric alone, then through each defence."""
    shared = ["--metric", "lite", "--images", str(PHOTOS), "--out", str(RUN), "--target", address]
    command(
        "scoreguard",
        "attack",
        "--attacks",
        ATTACKS,
        "--defences",
        DEFENCES,
        "--adaptive",
        *shared,
        "--surrogate",
        str(STORE),
    )


def say_what_next(seconds: float) -> None:
    """Print where the results are, and what to try next."""
    page = (RUN / "report" / "index.html").relative_to(ROOT)
    console.print(f"\n[bold]Done in {seconds / 60:.1f} minutes.[/bold] The page with the images: {page}")
    console.print("Six images are too few for intervals, and the table says so; see docs/intervals.md.")
    console.print(
        "Try next:\n"
        "  .venv/bin/scoreguard-serve --model-store model_store\n"
        "  .venv/bin/scoreguard score photo.png --metric lite --defence jpeg:quality=50 --undefended\n"
        "  .venv/bin/scoreguard attack --metric lite --attacks ifgsm --defences none,jpeg --images DIR --out runs/mine"
    )


def conclude() -> None:
    """Print what the run says, in three sentences."""
    console.print("\n[bold]What this run says[/bold]")
    for sentence in sentences(read_reports(RUN, TableOptions())):
        console.print(sentence, markup=False)


if __name__ == "__main__":
    main()
