"""The everyday edits: each against Pillow called directly or its formula written out, and the budget of all."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter, features
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import ConstantOracle
from tests.clients.attacks.short import EDITS

from scoreguard_client.attacks import Attack, AttackError, AttackResult, AttackSpecError, Needs, parse_attack
from scoreguard_client.attacks.free import avif
from scoreguard_client.attacks.free.base import UNEDITED, WEAKENED
from scoreguard_client.campaign.selection import written_out_attacks
from scoreguard_client.oracles.base import Images
from scoreguard_client.scores import ssim

EightBit = npt.NDArray[np.uint8]
FREELY = "min_ssim=0"
"""A budget that an ordinary edit of a photograph does not meet."""


@pytest.fixture(scope="module")
def photo() -> EightBit:
    """A real photograph of odd sides, (H, W, 3)."""
    data = pytest.importorskip("skimage.data")
    return np.asarray(data.astronaut()[60:151, 160:267])


def attacked(attack: Attack, *photos: EightBit) -> AttackResult:
    """Attack photographs of one size; the score is a constant."""
    clean = np.stack([photo.transpose(2, 0, 1) for photo in photos]) / np.float32(255)
    return attack(clean.astype(np.float32), ConstantOracle(4.0))


def edited(text: str, photo: EightBit) -> EightBit:
    """The photograph after an edit, which must be the full one and on the 8-bit grid."""
    result = attacked(parse_attack(f"{text}:{FREELY}"), photo)
    assert result.flags == ("",)
    np.testing.assert_array_equal(result.attacked, result.attacked_8bit / np.float32(255))
    return np.asarray(result.attacked_8bit[0].transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("text", "file_format", "quality"),
    [
        ("free-jpeg", "JPEG", 75),
        ("free-jpeg:quality=31", "JPEG", 31),
        ("free-webp", "WEBP", 80),
        ("free-webp:quality=20", "WEBP", 20),
        ("free-avif:quality=40", "AVIF", 40),
    ],
)
def test_a_re_encoded_image_is_what_a_viewer_shows_of_the_file(
    text: str, file_format: str, quality: int, photo: EightBit
) -> None:
    """Pillow called directly."""
    if not features.check(file_format.lower().replace("jpeg", "jpg")):
        pytest.skip(f"this Pillow does not write {file_format}")
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, file_format, quality=quality)
    np.testing.assert_array_equal(edited(text, photo), np.asarray(Image.open(stream).convert("RGB")))


def test_a_rescaled_image_is_pillows(photo: EightBit) -> None:
    """Down to a rounded size, and up."""
    height, width = photo.shape[:2]
    for factor in (0.5, 0.3):
        small = Image.fromarray(photo).resize((round(factor * width), round(factor * height)), Image.Resampling.LANCZOS)
        wanted = small.resize((width, height), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(edited(f"free-rescale:factor={factor}", photo), np.asarray(wanted))


def test_a_denoised_image_is_pillows_median(photo: EightBit) -> None:
    """Squares of three and five pixels; half of it lies midway."""
    for side in (3, 5):
        median = np.asarray(Image.fromarray(photo).filter(ImageFilter.MedianFilter(side)))
        np.testing.assert_array_equal(edited(f"free-denoise:side={side}", photo), median)
    midway = (photo.astype(float) + np.asarray(Image.fromarray(photo).filter(ImageFilter.MedianFilter(3)))) / 2
    assert np.abs(edited("free-denoise:amount=0.5", photo) - midway).max() <= 0.5


@pytest.mark.parametrize("factor", [0.6, 1.2, 1.5])
def test_contrast_and_saturation_are_an_editors(factor: float, photo: EightBit) -> None:
    """Pillow rounds its grey to a level first, and cuts off where these round: a level and a half at most."""
    for text, theirs in (("free-contrast", ImageEnhance.Contrast), ("free-saturation", ImageEnhance.Color)):
        wanted = np.asarray(theirs(Image.fromarray(photo)).enhance(factor)).astype(float)
        assert np.abs(edited(f"{text}:factor={factor}", photo) - wanted).max() <= 1.5


def gaussian(sigma: float) -> npt.NDArray[np.float64]:
    """Weights out to four standard deviations."""
    places = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    weights = np.exp(-(places**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum())


def blurred(values: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    """Rows, then columns, one product after the other; mirrored at the edges, their pixel twice."""
    weights = gaussian(sigma)
    reach = len(weights) // 2
    for axis in (0, 1):
        padding = [(reach, reach) if other == axis else (0, 0) for other in range(3)]
        padded = np.pad(values, padding, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=axis)
        values = windows @ weights
    return values


def in_levels(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cut to the range."""
    return np.asarray(np.clip(values, 0, 255))


def test_a_sharpened_image_is_the_unsharp_mask_of_its_formula(photo: EightBit) -> None:
    """Rounded; and nearly what Pillow's filter of that name makes with its approximate blur."""
    values = photo.astype(np.float64)
    for amount, radius in ((1.0, 1.0), (0.4, 2.3)):
        wanted = in_levels(values + amount * (values - blurred(values, radius)))
        found = edited(f"free-sharpen:amount={amount}:radius={radius}", photo)
        assert np.abs(found - wanted).max() <= 0.5 + 1e-9
        theirs = np.asarray(Image.fromarray(photo).filter(ImageFilter.UnsharpMask(radius, round(100 * amount), 0)))
        assert np.abs(found - theirs.astype(float)).mean() < 1.5 < np.abs(found - values).mean()


def test_a_blurred_image_is_sharpened_again(photo: EightBit) -> None:
    """The two formulas, one after the other, without rounding in between."""
    soft = blurred(photo.astype(np.float64), 1.2)
    wanted = in_levels(soft + 2 * (soft - blurred(soft, 1.5)))
    found = edited("free-sharpen-after-blur:sigma=1.2:amount=2:radius=1.5", photo)
    assert np.abs(found - wanted).max() <= 0.5 + 1e-9


def test_grain_is_grey_normal_noise_of_the_seed() -> None:
    """On a grey image: the same in all channels, of the deviation asked for; another seed gives another grain."""
    grey = np.full((1, 3, 90, 110), 128 / 255, dtype=np.float32)
    attack = parse_attack(f"free-grain:sigma=0.05:{FREELY}")
    first, again, other = (attack(grey, ConstantOracle(4.0), seeds=[seed]).attacked for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    noise = (first - grey)[0]
    np.testing.assert_array_equal(noise[0], noise[1])
    np.testing.assert_array_equal(noise[0], noise[2])
    assert noise.std() == pytest.approx(0.05, rel=0.03)
    assert abs(noise.mean()) < 0.002
    assert abs(np.corrcoef(noise[0].ravel(), (other - grey)[0, 0].ravel())[0, 1]) < 0.05


STRONG = {
    "free-jpeg": "quality=1",
    "free-webp": "quality=1",
    "free-avif": "quality=1",
    "free-sharpen": "amount=10",
    "free-contrast": "factor=4",
    "free-saturation": "factor=6",
    "free-denoise": "side=15",
    "free-rescale": "factor=0.1",
    "free-sharpen-after-blur": "sigma=6",
    "free-grain": "sigma=0.5",
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_is_too_strong_is_weakened_to_the_bound_and_flagged(name: str, photo: EightBit) -> None:
    """It is similar enough then, not by far more than asked, and not the clean image."""
    attack = parse_attack(f"{name}:{STRONG[name]}:min_ssim=0.9")
    result = attacked(attack, photo)
    similarity = ssim(photo / 255, result.attacked[0].transpose(1, 2, 0))
    assert result.flags == (WEAKENED,)
    assert 0.9 <= similarity < 0.935
    assert not np.array_equal(result.attacked_8bit[0], photo.transpose(2, 0, 1))
    assert ssim(photo / 255, edited(f"{name}:{STRONG[name]}", photo) / 255) < 0.9


def test_where_no_strength_holds_the_clean_image_is_kept_and_flagged(photo: EightBit) -> None:
    """No quality of a JPEG is that good; the edit's other image of the batch goes its own way."""
    flat = np.full_like(photo, 128)  # what a JPEG of any quality keeps
    result = attacked(parse_attack("free-jpeg:quality=10:min_ssim=0.99999"), photo, flat)
    assert result.flags == (UNEDITED, "")
    np.testing.assert_array_equal(result.attacked_8bit[0], photo.transpose(2, 0, 1))


def test_an_image_off_the_8_bit_grid_is_kept_as_it_is_where_no_strength_holds() -> None:
    """Not even its rounding is handed out."""
    clean = np.random.default_rng(0).random((1, 3, 12, 12), dtype=np.float32)
    result = parse_attack("free-jpeg:quality=10:min_ssim=0.9999999")(clean, ConstantOracle(4.0))
    assert result.flags == (UNEDITED,)
    np.testing.assert_array_equal(result.attacked, clean)


@pytest.mark.parametrize("name", EDITS)
@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.just(3), st.integers(1, 12), st.integers(1, 12)),
    least=st.floats(0, 0.999),
    strong=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_edit_of_any_image_is_as_similar_as_asked_and_made_alike_again(
    name: str, shape: tuple[int, ...], least: float, strong: bool, seed: int
) -> None:
    """Random images of random sizes; SSIM by its definition, range, type and shape, and the same bits twice."""
    clean: Images = (np.random.default_rng(seed).integers(0, 256, shape) / 255).astype(np.float32)
    attack = parse_attack(f"{name}:{STRONG[name] + ':' if strong else ''}min_ssim={least!r}")
    result, again = (attack(clean, ConstantOracle(4.0), seeds=[seed + n for n in range(shape[0])]) for _ in range(2))
    require_budget(attack, clean, result)
    np.testing.assert_array_equal(result.attacked, again.attacked)
    assert result.flags == again.flags


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_asks_for_nothing_but_the_score_of_its_result(name: str, photo: EightBit) -> None:
    """Neither a gradient nor a score to search by."""
    attack = parse_attack(name)
    result = attacked(attack, photo)
    assert (attack.needs, attack.queries_needed, result.queries.tolist()) == (Needs.NOTHING, 0, [1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("free-jpeg:quality=0", "quality must be 1 to 100"),
        ("free-webp:quality=101", "quality must be 1 to 100"),
        ("free-jpeg:min_ssim=1", r"min_ssim must be in \[0, 1\)"),
        ("free-best:min_ssim=-0.1", r"min_ssim must be in \[0, 1\)"),
        ("free-sharpen:amount=0", "amount must be in"),
        ("free-sharpen:radius=0", "radius must be in"),
        ("free-contrast:factor=-1", "factor must be in"),
        ("free-saturation:factor=11", "factor must be in"),
        ("free-denoise:side=4", "side must be odd"),
        ("free-denoise:amount=2", "amount must be in"),
        ("free-rescale:factor=1", "factor must be in"),
        ("free-sharpen-after-blur:sigma=0", "sigma must be in"),
        ("free-sharpen-after-blur:radius=0", "radius must be in"),
        ("free-sharpen-after-blur:amount=0", "amount must be in"),
        ("free-grain:sigma=0", "sigma must be in"),
    ],
)
def test_an_edit_that_cannot_be_made_is_refused(text: str, said: str) -> None:
    """One line."""
    with pytest.raises(AttackSpecError, match=said) as caught:
        parse_attack(text)
    assert "\n" not in str(caught.value)


def test_without_an_encoder_avif_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, photo: EightBit) -> None:
    """Before a campaign begins, and when it is called by hand."""
    monkeypatch.setattr(avif, "writes_avif", lambda: False)
    attack = parse_attack("free-avif")
    with pytest.raises(AttackError, match="needs a Pillow that writes AVIF") as caught:
        attack.pinned()
    assert "\n" not in str(caught.value)
    with pytest.raises(AttackError, match="needs a Pillow that writes AVIF"):
        attacked(attack, photo)


def test_without_an_encoder_all_attacks_are_those_without_avif(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is left out is named with the reason; the others do not need it."""
    monkeypatch.setattr(avif.FreeAVIF, "asks_for", "a Pillow that writes AVIF")
    text, left_out = written_out_attacks("all", lambda name: True)
    assert {name for name in text.split(",") if name.startswith("free-")} == {*EDITS, "free-best"} - {"free-avif"}
    assert [entry.error for entry in left_out if entry.name == "free-avif"] == ["needs a Pillow that writes AVIF"]
