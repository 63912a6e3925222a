"""What a request costs, known before it is decoded."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import to_tensor
from scoreguard.v1.scoring_pb2 import (
    Image,
    PurifyRequest,
    ScoreDefendedRequest,
    ScoreDefendedResponse,
    ScoreGradientRequest,
    Smoothing,
    StageTiming,
)
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import WorkResult
from scoreguard_handlers.gateway.cost import Estimate, Rates, estimate
from scoreguard_handlers.worker.received import Received
from scoreguard_handlers.worker.request_check import RequestChecker


def file_of(form: str, width: int, height: int) -> Image:
    """A flat image file."""
    buffer = io.BytesIO()
    PillowImage.new("RGB", (width, height)).save(buffer, form)
    return Image(encoded=buffer.getvalue())


async def cost_of(archive: Archive, request: Any, chain: str = "") -> Estimate:
    """The estimate of a request behind a chain."""
    request.defences.extend(step.to_message() for step in parse_chain(chain))
    steps = RequestChecker(archive.manifest).resolve(request.defences)
    return await estimate(Received.of(request), steps, metric="brightness", max_pixels=50_000_000)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "GIF"])
async def test_pixels_come_from_the_header(tiny_archive: Archive, form: str) -> None:
    """Of every kind of file, small or not."""
    for width, height in ((30, 20), (700, 500)):
        request = ScoreDefendedRequest(image=file_of(form, width, height))
        assert (await cost_of(tiny_archive, request)).megapixels == pytest.approx(width * height / 1e6)


async def test_damaged_metadata_hides_no_pixels(tiny_archive: Archive) -> None:
    """An image that the worker reads all the same costs what it costs."""
    buffer = io.BytesIO()
    PillowImage.new("RGB", (700, 500)).save(buffer, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    request = ScoreDefendedRequest(image=Image(encoded=buffer.getvalue()))
    assert (await cost_of(tiny_archive, request)).megapixels == pytest.approx(0.35)


async def test_pixels_of_a_tensor_come_from_its_shape(tiny_archive: Archive) -> None:
    """Its bytes are not looked at."""
    request = ScoreDefendedRequest(image=Image(tensor=to_tensor(np.zeros((40, 50, 3), np.uint8))))
    assert (await cost_of(tiny_archive, request)).megapixels == pytest.approx(0.002)


@pytest.mark.parametrize(
    "image",
    [Image(encoded=b"not an image"), Image(encoded=b"\x89PNG"), Image(), file_of("PNG", 9000, 9000)],
    ids=["no image", "cut", "none", "too large"],
)
async def test_what_the_worker_will_refuse_costs_nothing(tiny_archive: Archive, image: Image) -> None:
    """Its error is the worker's, in the worker's words."""
    assert await cost_of(tiny_archive, ScoreDefendedRequest(image=image)) == Estimate()


async def test_work_grows_with_steps_copies_and_derivatives(tiny_archive: Archive) -> None:
    """Each step of the chain, each noisy copy and the derivative count; so does their memory."""
    image, rates = file_of("PNG", 100, 100), Rates()

    async def seconds(request: Any, chain: str = "") -> float:
        return rates.seconds(await cost_of(tiny_archive, request, chain))

    plain = await seconds(ScoreDefendedRequest(image=image))
    chained = await seconds(ScoreDefendedRequest(image=image), "gain+gain+halve")
    both = await seconds(ScoreDefendedRequest(image=image, return_undefended_score=True), "gain+gain+halve")
    smoothing = Smoothing(sigma=0.1, samples=1000)
    smoothed = await seconds(ScoreDefendedRequest(image=image, smoothing=smoothing), "gain")
    gradient = await cost_of(tiny_archive, ScoreGradientRequest(image=image), "gain")
    purified = await cost_of(tiny_archive, PurifyRequest(image=image), "gain")
    assert plain < chained < both < 10 * plain < smoothed / 100
    assert rates.seconds(gradient) > await seconds(ScoreDefendedRequest(image=image), "gain")
    assert gradient.memory_bytes > 2 * purified.memory_bytes > 0


def test_rates_follow_the_answers() -> None:
    """After some answers the estimate is what they took; parameters do not tell stages apart; errors teach nothing."""
    rates, cost = Rates(), Estimate(megapixels=2.0, runs={"blur": 1, "metric": 2})
    timings = [("blur:kernel=3", 100.0), ("metric", 900.0), ("queue", 5000.0)]
    answer = ScoreDefendedResponse(timings=[StageTiming(stage=s, milliseconds=ms) for s, ms in timings])
    for _ in range(40):
        rates.learn(cost, WorkResult(score=answer))
        rates.learn(cost, WorkResult())
    assert rates.seconds(cost) == pytest.approx(1.0, rel=0.01)
    assert rates.seconds(Estimate(megapixels=4.0, runs={"blur": 1})) == pytest.approx(0.2, rel=0.01)


def test_work_that_was_stopped_costs_at_least_what_it_took() -> None:
    """A stage that never ends in time is known to be slow all the same; those that are known are not blamed."""
    rates, cost = Rates(), Estimate(megapixels=0.1, runs={"decode": 1, "diffuse": 1})
    before = rates.seconds(Estimate(megapixels=1, runs={"decode": 1}))
    rates.stopped(cost, 30.0)
    assert rates.seconds(cost) == pytest.approx(30.0)
    rates.stopped(cost, 1.0)
    rates.stopped(cost, 300.0)
    assert rates.seconds(cost) == pytest.approx(30.0)
    assert rates.seconds(Estimate(megapixels=1, runs={"decode": 1})) == before
