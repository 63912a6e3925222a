"""How memory is shared out, and how much there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoreguard_handlers import memory
from scoreguard_handlers.config import MIB, AdmissionConfig, ServeConfig
from scoreguard_handlers.memory import MemoryBudget, default_budget


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


def test_the_budget_is_what_the_container_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit below the machine's memory counts; what the service takes at rest does not; a stated one is taken."""
    limit = tmp_path / "memory.max"
    limit.write_text(f"{2048 * MIB}\n")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (limit,))
    config = ServeConfig(model_store=tmp_path, workers=2)
    assert default_budget(config, metrics=1) == pytest.approx((2048 - 320 - 2 * 160) * MIB * 0.8, rel=0.01)
    limit.write_text("max\n")
    assert default_budget(config, metrics=1) > 0
    stated = ServeConfig(model_store=tmp_path, admission=AdmissionConfig(memory_mib=77))
    assert default_budget(stated, metrics=1) == 77 * MIB
