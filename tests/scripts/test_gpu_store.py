"""The store that is carried to a GPU: packed small, and unpacked by the check."""

from __future__ import annotations

from pathlib import Path

import gpu_check
import gpu_store
import pytest

from scoreguard.v1.archive import archives_in


@pytest.mark.slow
def test_a_store_is_built_packed_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What arrives is what was built: every digest is confirmed."""
    words = ["--out", str(tmp_path / "made"), "--metrics", "lite", "--defences", "flip"]
    assert gpu_store.main(words) == 0
    printed = capsys.readouterr().out
    packed = tmp_path / "made" / gpu_store.PACKED
    assert f"{packed}: {packed.stat().st_size / gpu_store.MIB:.1f} MiB" in printed
    store = gpu_check.unpacked_store(packed, tmp_path / "there")
    (archive,) = archives_in(store)
    archive.verify()
    assert not (store / ".builds").exists()
    assert packed.stat().st_size < sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def test_a_store_without_weights_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name and what to do."""
    assert gpu_store.main(["--out", str(tmp_path), "--metrics", "lite", "--defences", "mprnet"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_store_that_is_a_folder_is_used_where_it_is(tmp_path: Path) -> None:
    """Nothing is copied."""
    assert gpu_check.unpacked_store(tmp_path, tmp_path / "home") == tmp_path
