"""`scoreguard showcase` as a user runs it: against real servers, with every number worked out another way."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from live_servers import running_server
from scipy.ndimage import uniform_filter
from tests.conftest import write_tiny_archive as write_brightness
from tiny_archives import write_tiny_archive as write_faulty

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import ScoreguardError, ScoringClient
from scoreguard_client.campaign import CampaignOptions, Ledger, launch
from scoreguard_client.cli import command
from scoreguard_handlers.config import ServeConfig

Run = Callable[..., tuple[int, str, str]]
Floats = npt.NDArray[np.float64]
EPS = 8 / 255
BLACK_BOX = "square:eps=8/255:queries=6"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image with structure, and with room for the attack below white and above black."""
    path = tmp_path_factory.mktemp("photos") / "a<b>.png"
    rng = np.random.default_rng(3)
    coarse = rng.integers(40, 200, (6, 8, 3), dtype=np.uint8)
    PIL.Image.fromarray(coarse).resize((64, 48), PIL.Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="module")
def brightness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real gateway with the local backend: `gain`, `noise` (random) and `halve` before mean brightness."""
    store = tmp_path_factory.mktemp("brightness")
    write_brightness(store / "brightness.mar")
    with running_server(ServeConfig(model_store=store, backend="local", port=0, workers=1)) as server:
        yield server.gateway.address


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real gateway with the local backend, two of whose defences fail on every image."""
    store = tmp_path_factory.mktemp("faulty")
    write_faulty(store)
    with running_server(ServeConfig(model_store=store, backend="local", port=0, workers=1)) as server:
        yield server.gateway.address


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, photo: Path) -> Run:
    """A function that runs the command on the photo and gives exit code, output and errors."""

    def execute(target: str, *arguments: object) -> tuple[int, str, str]:
        words = ["showcase", photo, "--target", target, "--out", tmp_path / "page.html", *arguments]
        code = console.run(command, errors=(ScoreguardError, ContractError), argv=[str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return execute


@pytest.fixture
def numbers(run: Run) -> Callable[..., dict[str, Any]]:
    """A function that runs the command and gives its JSON, cards by name."""

    def execute(target: str, *arguments: object) -> dict[str, Any]:
        code, out, err = run(target, *arguments, "--json")
        assert code == 0, err
        answer: dict[str, Any] = json.loads(out)
        return answer | {"by_name": {card["defence"]: card for card in answer["cards"]}}

    return execute


def original(photo: Path) -> Floats:
    """The photo's values in [0, 1]."""
    return np.asarray(PIL.Image.open(photo), dtype=np.float64) / 255


def ssim_by_hand(first: Floats, second: Floats) -> float:
    """Wang et al. 2004 with a uniform 7 x 7 window and unbiased moments, mean over channels and inner pixels."""
    values = []
    for x, y in zip(np.moveaxis(first, 2, 0), np.moveaxis(second, 2, 0), strict=True):
        mean_x, mean_y = uniform_filter(x, 7), uniform_filter(y, 7)
        unbias = 49 / 48
        var_x = unbias * (uniform_filter(x * x, 7) - mean_x**2)
        var_y = unbias * (uniform_filter(y * y, 7) - mean_y**2)
        covariance = unbias * (uniform_filter(x * y, 7) - mean_x * mean_y)
        c1, c2 = 0.01**2, 0.03**2
        above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
        values.append((above / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)))[3:-3, 3:-3].mean())
    return float(np.mean(values))


def psnr_by_opencv(first: Floats, second: Floats) -> float:
    """OpenCV's, for a peak of 1."""
    return float(cv2.PSNR(first.astype(np.float32), second.astype(np.float32), 1.0))


def assert_fidelity(view: dict[str, Any], clean: Floats, purified: Floats, *, decibels: float = 1e-3) -> None:
    """The view's numbers are those of this purified image."""
    psnr, ssim = psnr_by_opencv(clean, purified), ssim_by_hand(clean, purified)
    assert view["psnr"] == pytest.approx(psnr, abs=decibels)
    assert view["ssim"] == pytest.approx(ssim, abs=2e-3)
    assert view["quality"] == pytest.approx((ssim + psnr / 80) / 2, abs=2e-3)


def test_every_number_is_what_an_independent_computation_gives(
    running: Any, numbers: Callable[..., dict[str, Any]], photo: Path
) -> None:
    """FGSM on a mean adds eps to every value, so everything behind `dim` is known."""
    answer = numbers(running.target, "--metric", "bright", "--attack", "fgsm:eps=8/255", "--gradients", "live")
    clean = original(photo)
    undefended, dim = answer["undefended"], answer["by_name"]["dim"]
    assert answer["l_infinity"] == pytest.approx(EPS, abs=1e-6)
    assert undefended["clean"]["score"] == pytest.approx(100 * clean.mean(), abs=1e-3)
    assert undefended["gain"] == pytest.approx(100 * EPS, abs=1e-3)
    assert (undefended["clean"]["psnr"], undefended["clean"]["ssim"]) == (150, pytest.approx(1))
    assert_fidelity(undefended["attacked"], clean, clean + EPS)
    assert dim["chain"] == "dim:factor=0.5:level=1"
    assert dim["clean"]["score"] == pytest.approx(50 * clean.mean(), abs=1e-3)
    assert dim["gain"] == pytest.approx(50 * EPS, abs=1e-3)
    assert_fidelity(dim["clean"], clean, clean / 2)
    assert_fidelity(dim["attacked"], clean, (clean + EPS) / 2)


def test_an_image_of_another_size_is_compared_after_resizing_it_back(
    brightness: str, numbers: Callable[..., dict[str, Any]], photo: Path
) -> None:
    """`halve` keeps every second row and column; the reference enlarges them by OpenCV, bilinear."""
    answer = numbers(brightness, "--metric", "brightness", "--attack", BLACK_BOX, "--defences", "halve")
    clean, view = original(photo), answer["by_name"]["halve"]["clean"]
    half = clean[::2, ::2]
    assert (view["width"], view["height"]) == (32, 24)
    assert view["score"] == pytest.approx(100 * half.mean(), abs=1e-3)
    back = cv2.resize(half, (64, 48), interpolation=cv2.INTER_LINEAR)
    assert_fidelity(view, clean, np.asarray(back, dtype=np.float64), decibels=0.05)


def test_the_attacked_image_is_that_of_a_campaign_with_the_same_seed(
    running: Any, numbers: Callable[..., dict[str, Any]], photo: Path, tmp_path: Path
) -> None:
    """Same photo, metric, attack and seed: the same score, to the bit."""
    answer = numbers(running.target, "--metric", "bright", "--attack", BLACK_BOX, "--seed", 7)
    options = CampaignOptions(
        metric="bright", attacks=BLACK_BOX, defences="none", images=photo.parent, out=tmp_path / "run", seed=7
    )
    with ScoringClient(running.target) as client:
        launch(options, client, lambda runner: lambda steps, what: None)
    with Ledger.open(tmp_path / "run") as ledger:
        (record,) = ledger.records()
    assert answer["undefended"]["attacked"]["score"] == record.attacked_score
    assert answer["undefended"]["attacked"]["psnr"] == record.psnr


def test_the_same_seed_gives_the_same_draws_and_another_seed_gives_others(
    brightness: str, numbers: Callable[..., dict[str, Any]]
) -> None:
    """Bit for bit, and only behind the random defence."""
    arguments = (brightness, "--metric", "brightness", "--attack", BLACK_BOX)
    first, again, other = (numbers(*arguments, "--seed", seed)["by_name"] for seed in (5, 5, 6))
    for name in ("gain", "noise", "halve"):
        for view in ("clean", "attacked"):
            assert _timeless(first[name][view]) == _timeless(again[name][view])
    assert first["noise"]["random"]
    assert first["noise"]["clean"]["psnr"] != other["noise"]["clean"]["psnr"]
    assert first["gain"]["clean"]["score"] == other["gain"]["clean"]["score"]


def _timeless(view: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in view.items() if key != "milliseconds"}


def test_clean_and_attacked_get_the_same_draw(running: Any, numbers: Callable[..., dict[str, Any]]) -> None:
    """`shift` adds one number to the score, which the gain then does not hold."""
    answer = numbers(running.target, "--metric", "bright", "--attack", "fgsm", "--gradients", "live", "--seed", 9)
    shift = answer["by_name"]["shift"]
    assert shift["clean"]["score"] != pytest.approx(answer["undefended"]["clean"]["score"])
    assert shift["gain"] == pytest.approx(answer["undefended"]["gain"], abs=1e-3)


def test_a_defence_that_fails_is_shown_with_its_error_and_the_others_are_unharmed(
    faulty: str, run: Run, tmp_path: Path
) -> None:
    """Exit code 1, as a campaign with failed records; every error is one line."""
    arguments = ("--metric", "bright", "--attack", BLACK_BOX, "--sheet", tmp_path / "sheet.png", "--json")
    code, out, err = run(faulty, *arguments)
    cards = {card["defence"]: card for card in json.loads(out)["cards"]}
    assert code == 1
    assert "Traceback" not in err
    assert set(cards) >= {"gain", "slow", "broken", "huge"}
    for name in ("broken", "huge"):
        assert cards[name]["clean"] is None
        assert cards[name]["error"]
        assert "\n" not in cards[name]["error"]
    assert cards["gain"]["error"] == ""
    assert cards["gain"]["gain"] > 0
    page = _Page.read(tmp_path / "page.html")
    assert cards["broken"]["error"] in page.text
    assert (tmp_path / "sheet.png").stat().st_size > 0


class _Page(HTMLParser):
    """Checks that every tag is closed in order, and keeps what is looked for."""

    VOID = frozenset({"meta", "img", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    @staticmethod
    def read(path: Path) -> _Page:
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        page.close()
        assert page.open == []
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_well_formed_alone_and_complete(brightness: str, run: Run, tmp_path: Path) -> None:
    """No script, no other file; every defence by name, with six images each, and the images can be read."""
    assert run(brightness, "--metric", "brightness", "--attack", BLACK_BOX)[0] == 0
    page = _Page.read(tmp_path / "page.html")
    tags = [tag for tag, _ in page.seen]
    sources = [str(attributes["src"]) for tag, attributes in page.seen if tag == "img"]
    assert not {"script", "link", "iframe"} & set(tags)
    assert not re.search(r"(?:src|href)=\"(?!data:)", (tmp_path / "page.html").read_text())
    assert len(sources) == 6 * (1 + 3)
    sizes = [PIL.Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).size for source in sources]
    assert sizes[0] == (64, 48)
    assert (32, 24) in sizes
    for name in ("gain", "noise", "halve", "a<b>.png", "random, seed 0", "32 × 24", "bilinear"):
        assert name in page.text


def test_the_table_says_where_the_page_is_and_progress_goes_to_the_error_stream(
    running: Any, run: Run, tmp_path: Path
) -> None:
    """Two steps for the attack and the undefended photo, one for each defence."""
    code, out, err = run(running.target, "--metric", "bright", "--attack", BLACK_BOX, "--sort", "gain")
    assert code == 0
    assert str(tmp_path / "page.html") in out.replace("\n", "")
    assert out.index("dim") < out.index("shift")
    assert "4/4" in err


def test_chains_are_taken_as_a_campaign_takes_them(running: Any, numbers: Callable[..., dict[str, Any]]) -> None:
    """Steps joined by a plus sign, parameters by name; the undefended chain is there anyway, equal ones once."""
    chains = "none,dim:factor=0.25,dim+shift,dim:factor=0.25"
    answer = numbers(running.target, "--metric", "bright", "--attack", BLACK_BOX, "--defences", chains)
    assert [card["defence"] for card in answer["cards"]] == ["dim:factor=0.25", "dim+shift"]
    assert answer["cards"][0]["clean"]["score"] == pytest.approx(answer["undefended"]["clean"]["score"] / 4, rel=1e-4)
    assert answer["cards"][1]["random"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--attack", "fgms"], "did you mean fgsm"),
        (["--attack", "dct-threshold"], "a showcase attacks the metric alone"),
        (["--metric", "bight"], "did you mean bright"),
        (["--defences", "dimm"], "did you mean dim"),
        (["--defences", "dim:factor=3"], "out of range"),
        (["--defences", "none"], "no defence to show"),
        (["--detail", "1,2"], "X,Y,SIDE"),
        (["--detail", "60,2,16"], "not inside the photo of 64 x 48"),
        (["--out", "page.pdf"], "must end in .html"),
        (["--sheet", "sheet.jpg"], "must end in .png"),
        (["--out", "nowhere/page.html"], "no folder nowhere"),
        (["--gradients", "local"], "--surrogate"),
        (["--target", "localhost:1", "--timeout", "1"], "localhost:1"),
    ],
)
def test_bad_input_gives_one_line_and_code_2(
    arguments: list[str], said: str, running: Any, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Never a traceback, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    code, _, err = run(running.target, "--metric", "bright", "--attack", "fgsm", *arguments)
    assert code == 2
    assert said in err.splitlines()[-1]
    assert err.count("error: ") == 1
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(("content", "said"), [(None, "cannot read"), (b"text", "not an image")])
def test_a_photo_that_cannot_be_read_gives_one_line_and_code_2(
    content: bytes | None, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before any server is asked."""
    path = tmp_path / "photo.png"
    if content is not None:
        path.write_bytes(content)
    argv = ["showcase", str(path), "--target", "localhost:1", "--out", str(tmp_path / "page.html")]
    assert console.run(command, errors=(ScoreguardError, ContractError), argv=argv) == 2
    assert said in capsys.readouterr().err


def test_a_server_without_gradients_says_what_to_do(
    brightness: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As `scoreguard attack` does."""
    monkeypatch.chdir(tmp_path)
    code, _, err = run(brightness, "--metric", "brightness", "--attack", "fgsm")
    assert code == 2
    assert "this server gives no gradients" in err
    assert len(err.splitlines()) == 1


def test_help_has_an_example(run: Run) -> None:
    """One that names the attack and both files."""
    code, out, _ = run("localhost:1", "--help")
    assert code == 0
    assert "scoreguard showcase photo.png" in out
