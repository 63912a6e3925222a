"""The public benchmark's maps against torch, and its published scores after them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from domain_maps import facts_of, table

from scoreguard_client import scores
from scoreguard_client.campaign import RunError
from scoreguard_client.report.transforms import benchmark_maps, read_transform
from scoreguard_client.scores.benchmark_map import DRAWS, SPREAD, BenchmarkMap

ROOT = Path(__file__).resolve().parents[3]


def entry(seed: int = 0) -> dict[str, Any]:
    """An entry with the layout of the published file and random numbers."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for index, shape in enumerate(((100, 2), (100, 100), (100, 100), (1, 100))):
        state[f"{2 * index}.weight"] = torch.randn(shape, generator=generator) / shape[1] ** 0.5
        state[f"{2 * index}.bias"] = torch.randn(shape[0], generator=generator) / 10
    return {"state_dict": state, "X": {"scale_": 0.02, "min_": -0.5}, "Y": {"scale_": 4.0, "min_": -1.9}}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A file with two such maps."""
    path = tmp_path / "maps.pt"
    torch.save({"maniqa": entry(), "koncept": entry(1)}, path)
    return path


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Path:
    """The published file."""
    return shared_data / "benchmark" / "domain_transform_to_mdtvsfa.pt"


def test_the_network_computes_what_torch_does(made: Path) -> None:
    """The same layers in `torch.nn`, for scores inside and outside of the clean ones."""
    layers: list[torch.nn.Module] = []
    for width, outputs in ((2, 100), (100, 100), (100, 100), (100, 1)):
        layers += [torch.nn.Linear(width, outputs), torch.nn.ReLU()]
    reference = torch.nn.Sequential(*layers[:-1])
    reference.load_state_dict(entry()["state_dict"])
    rng = np.random.default_rng(0)
    inputs = np.column_stack([rng.uniform(-1, 2, 300), rng.normal(0, SPREAD, 300)])
    with torch.no_grad():
        wanted = reference(torch.from_numpy(inputs).float())[:, 0].numpy()
    np.testing.assert_allclose(benchmark_maps(made)["maniqa"].network(inputs), wanted, rtol=1e-4, atol=1e-6)


def test_a_map_is_a_function_of_the_score_and_the_seed(made: Path) -> None:
    """Whatever scores stand beside it; another seed moves it by the noise of 512 draws."""
    found = benchmark_maps(made)["maniqa"]
    values = np.array([30.0, 55.5, 30.0, np.nan, -0.0, 0.0])
    mapped = found.apply(values)
    assert mapped[0] == mapped[2] == found.apply(values[:1])[0]
    assert mapped[4] == mapped[5]
    assert np.isnan(mapped[3]) and np.isfinite(np.delete(mapped, 3)).all()
    other = BenchmarkMap.of("maniqa", entry())
    np.testing.assert_array_equal(other.apply(values), mapped)
    draws = found.draws(30.0)
    assert draws.shape == (DRAWS,)
    assert mapped[0] == draws.mean()


def test_z_has_the_benchmarks_spread_and_is_averaged(made: Path) -> None:
    """The mean over many seeds is the mean over z, by quadrature; one seed is within its error."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    maps = [replace(benchmark_maps(made)["maniqa"], seed=seed) for seed in range(30)]
    inputs = np.column_stack([np.full(120, 40 * 0.02 - 0.5), SPREAD * nodes])
    wanted = float(maps[0].network(inputs) @ weights / weights.sum())
    got = np.array([found.apply(np.array([40.0]))[0] for found in maps])
    error = maps[0].draws(40.0).std() / np.sqrt(DRAWS)
    assert got.mean() == pytest.approx(wanted, abs=4 * error / np.sqrt(len(maps)))
    assert 0.5 * error < got.std(ddof=1) < 2 * error


def test_the_published_scores_after_the_transform_are_recomputed(shared_data: Path, published: Path) -> None:
    """MANIQA under FGSM on NIPS 2017, from the authors' notebook: absolute and relative gain, R, W, E, to three digits.

    R differs by up to 0.0015 between seeds of z (here seed 0), as between two runs of the benchmark.
    """
    path = shared_data / "benchmark" / "maniqa" / "std-fgsm_maniqa_test.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["test_dataset"] == "NIPS"]
    found = read_transform(f"as-benchmark:{published}", "maniqa")
    clean, attacked = (found.apply(np.array([float(row[name]) for row in rows])) for name in ("clear", "attacked"))
    u, v = scores.scale_pair(clean, attacked, found.range, scores.Scaling.CLEAN_SELECTION)
    got = (
        scores.absolute_gain(u, v),
        scores.relative_gain(u, v),
        scores.wasserstein_score(u, v),
        scores.energy_score(u, v),
    )
    assert len(rows) == 1000
    np.testing.assert_allclose(got, (0.297, 0.200, 0.297, 0.530), atol=0.0005)
    assert scores.r_score(u, v, mode=scores.RMode.BENCHMARK) == pytest.approx(0.399, abs=0.0015)


def test_the_documentation_has_what_the_published_maps_do(published: Path) -> None:
    """Every number of its table, and the sentences that count them."""
    facts = [facts_of(found) for found in benchmark_maps(published).values()]
    page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    assert table(facts) in page
    falling = [each for each in facts if each.fall_below > 0]
    assert f"{len(falling)} of the {len(facts)} maps" in page
    assert all(each.fall_elsewhere <= 0 for each in facts)
    (itself,) = (each for each in facts if each.metric == "mdtvsfa")
    assert f"{itself.at_lowest:.3f} to {itself.at_highest:.3f}" in page
    noisiest = max(facts, key=lambda each: each.noise)
    assert f"{noisiest.noise:.2f} (`{noisiest.metric}`, {noisiest.noise / np.sqrt(DRAWS):.2f} on the mean)" in page


def test_our_names_of_metrics_find_the_benchmarks_maps(made: Path) -> None:
    """Variants that compute as the benchmark does, and the one that is named differently."""
    for name, theirs in (("maniqa-as-benchmark", "maniqa"), ("koncept512", "koncept")):
        found = read_transform(f"as-benchmark:{made}", name)
        assert isinstance(found, BenchmarkMap)
        assert found.metric == theirs


@pytest.mark.parametrize("metric", ["lite", ""])
def test_a_metric_without_a_map_is_refused_with_those_that_have_one(made: Path, metric: str) -> None:
    """In one line."""
    with pytest.raises(RunError, match=r"has no map of .*, only of maniqa, koncept$"):
        read_transform(f"as-benchmark:{made}", metric)


class Pickled:
    """What weights_only loading refuses."""


def without(key: str) -> dict[str, Any]:
    """An entry that lacks something."""
    content = entry()
    del content["state_dict"][key]
    return content


def reshaped() -> dict[str, Any]:
    """An entry with a layer of another width."""
    content = entry()
    content["state_dict"]["4.weight"] = torch.zeros(100, 99)
    return content


def infinite() -> dict[str, Any]:
    """An entry with a number that is none."""
    content = entry()
    content["state_dict"]["6.bias"][0] = torch.inf
    return content


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (dict, "it has no entries"),
        (lambda: [1], "it has no entries"),
        (lambda: {"maniqa": without("2.bias")}, "entry maniqa has no network"),
        (lambda: {"maniqa": {}}, "entry maniqa has no network"),
        (lambda: {"maniqa": 3}, "entry maniqa has no network"),
        (lambda: {"maniqa": reshaped()}, "have other shapes"),
        (lambda: {"maniqa": infinite()}, "are not finite"),
        (lambda: {"maniqa": Pickled()}, "file of domain transforms"),
    ],
)
def test_a_file_with_other_content_is_refused_in_one_line(tmp_path: Path, content: Callable[[], Any], why: str) -> None:
    """Pickled objects, as the file was first published with, are never loaded."""
    path = tmp_path / "maps.pt"
    torch.save(content(), path)
    with pytest.raises(RunError, match=why) as raised:
        benchmark_maps(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"a,b\n1,2\n"])
def test_a_file_that_is_no_torch_file_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    """Empty, cut, or of another kind; and one that is not there."""
    path = tmp_path / "maps.pt"
    path.write_bytes(data)
    for place in (path, tmp_path / "none.pt"):
        with pytest.raises(RunError, match="is not the benchmark's file") as raised:
            benchmark_maps(place)
        assert "\n" not in str(raised.value)


def test_a_fitted_map_of_another_metric_is_refused(tmp_path: Path) -> None:
    """Both metrics are named."""
    mine, theirs = (
        scores.Sample(metric=name, higher_is_better=True, images=2, sha256="0" * 64) for name in ("niqe", "lite")
    )
    path = tmp_path / "map.json"
    values = np.array([0.0, 1.0])
    fitted = scores.DomainTransform.fit(values, values, source=mine, reference=theirs)
    path.write_text(fitted.to_json(), encoding="utf-8")
    assert read_transform(str(path), "niqe").reference_name == "lite"
    with pytest.raises(RunError, match=r"maps scores of niqe, not of nima$"):
        read_transform(str(path), "nima")
    with pytest.raises(RunError, match="is no domain transform"):
        read_transform(str(tmp_path / "none.json"), "nima")
