"""A published folder as the library `datasets` loads it: one call, no option, images beside their scores."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.clients.campaign.two_metrics import options_of, run, write_photos

from scoreguard_client.dataset import DatasetOptions, publish


@pytest.fixture
def load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library's function, with its cache in a folder of the test and no network."""
    for name, value in {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    datasets = pytest.importorskip("datasets")
    return lambda folder: datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of the library and of what it imports
def test_a_data_set_loads_with_one_call(tmp_path: Path, load_dataset: Any) -> None:
    """Every row of the table, with the values of both files and the types of the columns."""
    write_photos(tmp_path / "photos", "x y.png")
    write_photos(tmp_path / "photos" / "deep", "v1.2.png")
    options = options_of(tmp_path, attacks="square:queries=3,ifgsm:iterations=2", keep_attacked=True)
    run(options)
    out = tmp_path / "set"
    publish(DatasetOptions(run=options.out, out=out), lambda total: lambda steps, what: None)
    loaded = load_dataset(out)
    assert list(loaded) == ["test"]
    rows = loaded["test"]
    with (out / "metadata.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(rows) == len(table) == 32
    assert rows.column_names == ["image", "clean", *list(table[0])[2:]]
    for row, there in zip(rows, table, strict=True):
        for shown, name in (("image", "file_name"), ("clean", "clean_file_name")):
            with PIL.Image.open(out / there[name]) as opened:
                assert np.array_equal(np.asarray(row[shown]), np.asarray(opened.convert("RGB")))
        others = list(there)[2:]
        assert {name: "" if row[name] is None else str(row[name]) for name in others} == {n: there[n] for n in others}
        assert isinstance(row["adaptive"], bool) and isinstance(row["attacked[none]"], float)
        assert hashlib.sha256((out / there["file_name"]).read_bytes()).hexdigest() == row["sha256"]
