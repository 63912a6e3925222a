"""How memory is shared out, and how much there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoreguard_handlers.config import MIB, AdmissionConfig, ServeConfig
from scoreguard_handlers.worker import memory
from scoreguard_handlers.worker.memory import MemoryBudget, default_budget


def test_whoever_waits_longest_is_next() -> None:
    """What came later does not take the memory that somebody waits for, however little it needs."""
    budget = MemoryBudget(1000)
    assert budget.take("a", 600)
    assert not budget.take("b", 800)
    assert not budget.take("c", 100)
    assert budget.take("small", 10)
    budget.leave("a")
    assert not budget.take("c", 100)
    assert budget.take("b", 800)
    assert budget.take("c", 100)


def test_one_alone_is_always_let_in() -> None:
    """Refusing what never fits is the queue's business; here it must not wait for ever."""
    assert MemoryBudget(1000).take("a", 5000)


def test_who_gives_up_waiting_makes_way() -> None:
    """And those behind are told."""
    budget, told = MemoryBudget(1000), []
    budget.on_room(lambda: told.append(1))
    budget.take("a", 600)
    budget.take("b", 800)
    budget.leave("b")
    assert told == [1]
    assert budget.take("c", 100)


@pytest.mark.parametrize(
    ("own", "limit"),
    [
        ("0::/\n", "memory.max"),
        ("0::/system.slice/scoreguard.service\n", "system.slice/scoreguard.service/memory.max"),
        ("0::/system.slice/scoreguard.service\n", "system.slice/memory.max"),
        ("9:cpu,memory:/docker/1a\n0::/\n", "memory/docker/1a/memory.limit_in_bytes"),
        ("9:memory:/docker/1a\n", "memory/memory.limit_in_bytes"),
    ],
)
def test_the_budget_is_what_the_container_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, limit: str
) -> None:
    """A limit below the machine's memory counts, wherever it is; what the service takes at rest does not."""
    (tmp_path / "own").write_text(own)
    file = tmp_path / limit
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{2048 * MIB}\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "own")
    config = ServeConfig(model_store=tmp_path, workers=2)
    assert default_budget(config, metrics=1) == pytest.approx((2048 - 320 - 2 * 160) * MIB * 0.8, rel=0.01)
    file.write_text("max\n")
    assert default_budget(config, metrics=1) > 0


def test_a_stated_budget_is_taken(tmp_path: Path) -> None:
    """Whatever the machine has."""
    stated = ServeConfig(model_store=tmp_path, admission=AdmissionConfig(memory_mib=77))
    assert default_budget(stated, metrics=1) == 77 * MIB
