"""Frames of video files: exact where the file is, near where it is lossy, and one line where there are none."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from videos import moving, written

from scoreguard.v1.errors import ImageLimitError, VideoError
from scoreguard.video import frames_of, is_video

FRAMES = list(moving(6))


def read(data: bytes, **options: Any) -> list[Any]:
    """Every frame."""
    return list(frames_of(io.BytesIO(data), **{"max_pixels": 10**6, **options}))


def test_frames_of_a_lossless_file_are_the_ones_written() -> None:
    """All of them, in order, to the last bit."""
    found = read(written(FRAMES))
    assert len(found) == 6
    assert all(np.array_equal(one, other) for one, other in zip(found, FRAMES, strict=True))


def test_frames_between_those_that_are_wanted_are_not_converted() -> None:
    """They are counted."""
    found = read(written(FRAMES), every=4)
    assert [frame is not None for frame in found] == [True, False, False, False, True, False]
    assert np.array_equal(found[4], FRAMES[4])


@pytest.mark.parametrize("places", [(), (0,), (1, 5), (2, 9)])
def test_frames_at_some_places_are_converted_and_no_others(places: tuple[int, ...]) -> None:
    """Whatever is between them; a place behind the last frame is none."""
    found = read(written(FRAMES), wanted=frozenset(places))
    assert [place for place, frame in enumerate(found) if frame is not None] == [p for p in places if p < 6]
    assert all(np.array_equal(found[place], FRAMES[place]) for place in places if place < 6)


@pytest.mark.parametrize(
    ("codec", "pixels", "allowed"),
    [
        ("ffv1", "yuv444p10le", 2),
        ("ffv1", "gbrp12le", 1),
        ("ffv1", "rgb48le", 1),
        ("ffv1", "yuva444p", 3),
        ("mpeg4", "yuv420p", 16),
        ("libx264", "yuv422p10le", 16),
        ("mjpeg", "yuvj420p", 16),
    ],
)
def test_every_pixel_format_becomes_8_bit_rgb(codec: str, pixels: str, allowed: float) -> None:
    """Deep ones, with an alpha channel, with coarse colours; smooth colours lose little in any."""
    rows, columns = np.mgrid[0:48, 0:64]
    smooth = np.stack([60 + columns * 2, 90 + rows * 2, 100 + rows + columns], axis=2).astype(np.uint8)
    (found,) = read(written([smooth], codec=codec, pixels=pixels))
    assert found is not None
    assert (found.shape, found.dtype) == ((48, 64, 3), np.uint8)
    assert np.abs(found.astype(int) - smooth).max() <= allowed


def test_a_grey_video_has_three_equal_channels() -> None:
    """Ten bits of grey as eight."""
    (found,) = read(written(FRAMES[:1], pixels="gray10le"))
    assert found is not None
    assert np.array_equal(found[..., 0], found[..., 1])
    assert np.array_equal(found[..., 0], found[..., 2])


@pytest.mark.parametrize(("cosine", "sine", "turns"), [(0, 1, 3), (-1, 0, 2), (0, -1, 1)])
def test_frames_are_turned_as_the_file_says(cosine: int, sine: int, turns: int) -> None:
    """A telephone that is held upright writes a matrix beside frames that lie on their side."""
    plain = written(FRAMES, container="mp4", codec="mpeg4", pixels="yuv420p")
    start = plain.index(b"tkhd") + 44
    numbers = (cosine, sine, 0, -sine, cosine, 0, 0, 0)
    matrix = b"".join((value << 16).to_bytes(4, "big", signed=True) for value in numbers) + (1 << 30).to_bytes(4, "big")
    turned = plain[:start] + matrix + plain[start + 36 :]
    for one, other in zip(read(turned), read(plain), strict=True):
        assert other is not None
        assert np.array_equal(one, np.rot90(other, turns))


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://localhost:1/clip.ts\n#EXT-X-ENDLIST\n"
WRONG = {
    "empty": (b"", "cannot be decoded before its first frame"),
    "no video": (b"none of the bytes " * 99, "cannot be decoded before its first frame"),
    "cut off": (written(FRAMES, container="mp4", codec="mpeg4", pixels="yuv420p")[:900], "cannot be decoded"),
    "no frame": (written(FRAMES)[:800], "has no frames"),
    "playlist": (PLAYLIST, "cannot be decoded before its first frame"),
    "list of files": (b"ffconcat version 1.0\nfile 'clip.mkv'\n", "cannot be decoded before its first frame"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_video_gives_one_line(name: str) -> None:
    """It says how far it could be read and what to send; playlists, which name other files, are no videos."""
    data, said = WRONG[name]
    with pytest.raises(VideoError, match=said) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_large_frames_are_refused_before_one_is_decoded() -> None:
    """Both numbers are in the line."""
    with pytest.raises(ImageLimitError, match=r"64 x 48 = 3072 pixels: the limit is 3071"):
        read(written(FRAMES), max_pixels=3071)


def test_frames_that_grow_on_the_way_are_refused_where_they_do() -> None:
    """The size at the beginning of a file promises nothing."""
    parts = [
        written(moving(2, height, width), container="mpegts", codec="mpeg2video", pixels="yuv420p")
        for height, width in ((48, 64), (96, 128))
    ]
    assert {frame.shape for frame in read(b"".join(parts))} == {(48, 64, 3), (96, 128, 3)}
    for limit in (4000, 10_000):
        with pytest.raises((VideoError, ImageLimitError), match=r"after 1 frames|128 x 96 = 12288 pixels"):
            read(b"".join(parts), max_pixels=limit)


def test_without_the_library_its_name_is_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers turn it into the line that installs it."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError, match="av"):
        read(b"")


@pytest.mark.parametrize(
    ("name", "container", "expected"),
    [
        *(("clip.MP4", "", True), ("clip", "mp4", True), ("clip", "matroska", True), ("clip", "avi", True)),
        ("clip.png", "", False),
    ],
)
def test_a_video_is_known_by_its_name_or_its_first_bytes(name: str, container: str, expected: bool) -> None:
    """An image is none."""
    data = written(FRAMES[:1], container=container, codec="mpeg4", pixels="yuv420p") if container else b"\x89PNG" * 8
    assert is_video(name, data[:32]) is expected


def test_an_avif_image_is_no_video() -> None:
    """Its container is that of MP4."""
    assert not is_video("photo", b"\x00\x00\x00\x20ftypavif" + bytes(8))
