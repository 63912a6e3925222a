"""Queries of a local chain in batches: every draw of every image is a row, and rows run together.

The means over draws are sums of slices in a fixed order, never a scatter, so they repeat to the last bit. If the
device's memory does not suffice the batch is halved, and stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor

from scoreguard.chain.torchscript import DifferentiableChain
from scoreguard.v1.errors import DeviceMemoryError

_Answer = TypeVar("_Answer")


class Batches:
    """The number of rows that a chain runs at once; copies of an oracle share it."""

    def __init__(self, most: int) -> None:
        self.most = most
        """Rows of a batch, at least 1; halved each time that the device's memory did not suffice."""

    def score(self, chain: DifferentiableChain, images: Tensor, seeds: Sequence[Sequence[int]]) -> Tensor:
        """Compute each image's mean score over its draws, (N,) float64, on the images' device.

        Args:
            chain: the graphs.
            images: (N, 3, H, W) on the chain's device.
            seeds: one for each draw of each image.

        Raises:
            DeviceMemoryError: a single row does not fit.
            ContractError: as `DifferentiableChain.score` does.
        """
        return _means([scores for _, scores in self._answers(images, seeds, chain.score)], seeds)

    def gradient(
        self, chain: DifferentiableChain, images: Tensor, seeds: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """Compute mean scores (N,) float64 and mean gradients (N, 3, H, W); raises as `score` does."""
        scores, sums = list[Tensor](), list[list[Tensor]]([] for _ in seeds)
        if all(len(own) == 1 for own in seeds):
            answers = [answer for _, answer in self._answers(images, seeds, chain.gradient)]
            return _means([score for score, _ in answers], seeds), torch.cat([gradient for _, gradient in answers])
        for owners, (answer, gradients) in self._answers(images, seeds, chain.gradient):
            scores.append(answer)
            for owner, start, end in _runs(owners):
                part = gradients[start:end].sum(dim=0)
                sums[owner] = [sums[owner][0] + part] if sums[owner] else [part]
        means = [total / len(own) for (total,), own in zip(sums, seeds, strict=True)]
        return _means(scores, seeds), torch.stack(means)

    def _answers(
        self, images: Tensor, seeds: Sequence[Sequence[int]], ask: Callable[[Tensor, Sequence[int]], _Answer]
    ) -> Iterator[tuple[list[int], _Answer]]:
        """Yield the images' numbers of each batch of rows, and its answer."""
        rows = [(owner, seed) for owner, own in enumerate(seeds) for seed in own]
        start = 0
        while start < len(rows):
            owners, numbers = (list(part) for part in zip(*rows[start : start + self.most], strict=True))
            try:
                answer = ask(_gathered(images, owners), numbers)
            except DeviceMemoryError:
                if len(owners) == 1:
                    raise
                self.most = len(owners) // 2
            else:
                yield owners, answer
                start += len(owners)
                continue
            # The failed attempt's tensors are gone only now that its exception is.
            if images.device.type == "cuda":
                torch.cuda.empty_cache()


def _gathered(images: Tensor, owners: list[int]) -> Tensor:
    """Return one row for each owner; consecutive images are not copied."""
    first, last = owners[0], owners[-1]
    if owners == list(range(len(images))):
        return images
    if owners == list(range(first, last + 1)):
        return images[first : last + 1]
    return torch.cat([images[owner : owner + 1].expand(end - start, -1, -1, -1) for owner, start, end in _runs(owners)])


def _runs(owners: list[int]) -> Iterator[tuple[int, int, int]]:
    """Yield each owner with the first and the last row plus one that it has."""
    start = 0
    for owner, rows in groupby(owners):
        end = start + len(list(rows))
        yield owner, start, end
        start = end


def _means(scores: list[Tensor], seeds: Sequence[Sequence[int]]) -> Tensor:
    """Average the rows' scores over the draws of each image."""
    rows, draws = torch.cat(scores).double(), [len(own) for own in seeds]
    if len(set(draws)) == 1:
        return rows.reshape(len(draws), draws[0]).mean(dim=1)
    owners = [owner for owner, number in enumerate(draws) for _ in range(number)]
    return torch.stack([rows[start:end].mean() for _, start, end in _runs(owners)])
