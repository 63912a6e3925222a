"""Selection networks: the median of a k × k window from minima and maxima only.

The columns of the window are already sorted (neighbouring windows share them). The network sorts the rows, which keeps
the columns sorted; then it compares the values whose rank is least certain, until every other value is known to be on
one side of the median, as many below as above. After Paeth, "Median finding on a 3 × 3 grid", Graphics Gems, 1990.

A network has no branch that depends on the image, so every engine can run it. Values are only selected, never changed,
so engines agree to the last bit. Sorting each window would take k² times the image's memory, a network little more than
half of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

Exchange = tuple[int, int]
"""Two slots: the first takes the smaller of their values, the second the larger."""

Step = tuple[int, int, bool, bool]
"""Two slots, whether the first takes the smaller of their values, and whether the second takes the larger."""


def sorting_network(length: int) -> list[Exchange]:
    """Build the odd–even merge sort (Batcher, 1968) of slots 0 … length − 1."""
    exchanges: list[Exchange] = []
    block = 1
    while block < length:
        stride = block
        while stride:
            exchanges += _merge_step(length, block, stride)
            stride //= 2
        block *= 2
    return exchanges


def _merge_step(length: int, block: int, stride: int) -> list[Exchange]:
    starts = range(stride % block, length - stride, 2 * stride)
    lows = [start + offset for start in starts for offset in range(min(stride, length - start - stride))]
    return [(low, low + stride) for low in lows if low // (2 * block) == (low + stride) // (2 * block)]


@dataclass
class _Order:
    """What is known about the order of the slots' values: `above[a]` holds every slot known to be no smaller than a."""

    above: dict[int, set[int]]
    below: dict[int, set[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.below = {slot: {other for other in self.above if slot in self.above[other]} for slot in self.above}

    def exchange(self, low: int, high: int) -> None:
        """Put the smaller value in `low`; values known to be below both, or above either, are now recorded for it."""
        smaller = (self.above[low] | self.above[high] | {high}) - {low}, self.below[low] & self.below[high]
        larger = self.above[low] & self.above[high], (self.below[low] | self.below[high] | {low}) - {high}
        for slot, (above, below) in ((low, smaller), (high, larger)):
            self._forget(slot)
            self.above[slot], self.below[slot] = set(above), set(below)
            for other in above:
                self.below[other].add(slot)
            for other in below:
                self.above[other].add(slot)

    def _forget(self, slot: int) -> None:
        for other in self.above:
            self.above[other].discard(slot)
            self.below[other].discard(slot)

    def drop(self, slot: int) -> None:
        """Remove a slot."""
        self._forget(slot)
        del self.above[slot], self.below[slot]

    def drop_settled(self) -> None:
        """Remove values that cannot be the median, one from each side at a time, which keeps the median."""
        while len(self.above) > 1:
            lowest = max(self.above, key=lambda slot: len(self.above[slot]))
            highest = max(self.below, key=lambda slot: len(self.below[slot]))
            half = (len(self.above) + 1) // 2
            if len(self.above[lowest]) < half or len(self.below[highest]) < half:
                return
            self.drop(lowest)
            self.drop(highest)

    def next_exchange(self) -> Exchange:
        """Choose two slots of unknown order; on the side that lags, one of them comes closest to being settled."""
        lows, highs = (max(len(known) for known in side.values()) for side in (self.above, self.below))
        side = self.above if lows <= highs else self.below
        open_pairs = (pair for pair in combinations(sorted(self.above), 2) if pair[1] not in self._compared(pair[0]))
        return max(open_pairs, key=lambda pair: len(side[pair[0]] | side[pair[1]]))

    def _compared(self, slot: int) -> set[int]:
        return self.above[slot] | self.below[slot]


def _sorted_both_ways(kernel: int) -> _Order:
    """Return the order after the rows are sorted. That the columns then stay sorted is a theorem."""
    slots = [(row, column) for row in range(kernel) for column in range(kernel)]
    return _Order(
        {
            row * kernel + column: {
                lower * kernel + right
                for lower, right in slots
                if lower >= row and right >= column and (lower, right) != (row, column)
            }
            for row, column in slots
        }
    )


def needed_steps(exchanges: Sequence[Exchange], wanted: int) -> list[Step]:
    """Remove the minima and maxima that the wanted slot does not depend on.

    Args:
        exchanges: A network.
        wanted: The slot that is read afterwards.
    """
    needed, steps = {wanted}, []
    for low, high in reversed(exchanges):
        if low in needed or high in needed:
            steps.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return steps[::-1]


def median_network(kernel: int) -> tuple[list[Step], int]:
    """Build the network of a window whose columns are sorted: 14 minima and maxima for 3, 116 for 5, 392 for 7.

    Args:
        kernel: Odd, at least 3.

    Returns:
        Steps on the slots row · kernel + column, in order, and the slot that holds the median after them.
    """
    order, network = _sorted_both_ways(kernel), sorting_network(kernel)
    exchanges = [(row * kernel + low, row * kernel + high) for row in range(kernel) for low, high in network]
    order.drop_settled()
    while len(order.above) > 1:
        exchanges.append(order.next_exchange())
        order.exchange(*exchanges[-1])
        order.drop_settled()
    (median,) = order.above
    return needed_steps(exchanges, median), median
