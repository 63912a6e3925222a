"""Video files made from a still photograph with motion, written by PyAV."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from scoreguard_export.archive.parity_images import photographs

Frame = npt.NDArray[np.uint8]


def moving(count: int, height: int = 48, width: int = 64, *, seed: int = 0) -> Iterator[Frame]:
    """A window that moves over a photograph, whose light falls by a level a frame: (height, width, 3) each."""
    still = photographs(1, height + 32, width + 64, seed)[0].permute(1, 2, 0).numpy()
    levels = np.rint(np.clip(still, 0.25, 0.9) * 255)
    for index in range(count):
        row, column = index % 32, 2 * index % 64
        yield (levels[row : row + height, column : column + width] - index % 60).astype(np.uint8)


def written(
    frames: Iterable[Frame],
    *,
    container: str = "matroska",
    codec: str = "ffv1",
    pixels: str = "bgr0",
    options: dict[str, str] | None = None,
) -> bytes:
    """A video file; by default without any loss."""
    av: Any = importlib.import_module("av")
    buffer = io.BytesIO()
    stream: Any = None
    with av.open(buffer, "w", format=container) as output:
        for values in frames:
            if stream is None:
                stream = output.add_stream(codec, rate=25, options=options or {})
                stream.height, stream.width, stream.pix_fmt = *values.shape[:2], pixels
            frame = av.VideoFrame.from_ndarray(values, format="rgb24").reformat(format=pixels)
            output.mux(stream.encode(frame))
        if stream is not None:
            output.mux(stream.encode())
        else:
            output.add_stream(codec, rate=25).pix_fmt = pixels
    return buffer.getvalue()
