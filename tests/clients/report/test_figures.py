"""What the figures of a report show is what its tables and records say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.text import Text
from scipy import stats
from tests.clients.report.made_runs import (
    FEW_ATTACKS,
    FEW_CHAINS,
    JPEG,
    MANY_ATTACKS,
    MANY_CHAINS,
    failed,
    made_reports,
)

from scoreguard.score_range import ScoreRange
from scoreguard_client.attacks.fgsm import FGSM
from scoreguard_client.campaign import Record
from scoreguard_client.report import Report
from scoreguard_client.report.figures import Figure, figures
from scoreguard_client.report.figures.budgets import ladders_in
from scoreguard_client.report.figures.labels import place_labels
from scoreguard_client.report.figures.style import ADAPTIVE, AWARE_WORDS, PLAIN, PLAIN_WORDS, wrapped
from scoreguard_client.report.figures.sweeps import sweeps_in
from scoreguard_client.scores.scaling import Values

WORDS = {True: AWARE_WORDS, False: PLAIN_WORDS}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Five chains, three of them JPEG; four attacks, two of them I-FGSM, one that asks nothing; six images."""
    (found,) = made_reports(tmp_path_factory.mktemp("few") / "run")
    return found


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Twenty chains and fourteen attacks."""
    (found,) = made_reports(tmp_path_factory.mktemp("many") / "run", MANY_CHAINS, MANY_ATTACKS, 4)
    return found


def named(report: Report, key: str) -> Figure:
    """The figure of that key."""
    (found,) = [figure for figure in figures([report]) if figure.key == key]
    return found


def drawn(report: Report, key: str) -> Drawing:
    """The same, drawn."""
    return named(report, key).draw()


def behind(report: Report, chain: str, *, adaptive: bool) -> list[Record]:
    """Records of a chain; undefended, the attack that knows no chain knows all."""
    return [r for r in report.records if r.chain == chain and r.adaptive is (adaptive and chain != "none")]


def values(records: Sequence[Record], name: str) -> Values:
    """A field of each record."""
    return np.asarray([getattr(record, name) for record in records], dtype=np.float64)


def gain(records: Sequence[Record]) -> Values:
    """|f(x) - f(g(x'))| / f(x) of each record."""
    clean = values(records, "clean_score")
    return np.abs(clean - values(records, "attacked_defended")) / clean


def panel(drawing: Drawing, title: str) -> Axes:
    """The axes below a title, on whichever side it stands."""
    (found,) = [axes for axes in drawing.axes if title in (axes.get_title(), axes.get_title(loc="left"))]
    return found


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    """Points of the line of that label."""
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return coordinates(found)


def coordinates(line: Line2D) -> tuple[list[float], list[float]]:
    """Points of a line."""
    x, y = (np.asarray(each, dtype=np.float64).tolist() for each in (line.get_xdata(), line.get_ydata()))
    return x, y


def cells(axes: Axes) -> np.ma.MaskedArray[Any, Any]:
    """Numbers of a block of a heat map."""
    return np.ma.asarray(axes.collections[0].get_array())


def test_a_run_has_the_figures_that_it_has_data_for(report: Report, tmp_path: Path) -> None:
    """Sweeps and budgets only where there are several values; adaptive attacks or not."""
    expected = ["gains", "heatmap-gain", "heatmap-srocc", "quality-gain", "gain-ssim", "gain-score"]
    several = ["sweep-jpeg-quality", "budget-ifgsm-eps", "detection"]
    assert [figure.key for figure in figures([report])] == expected + several
    (simple,) = made_reports(tmp_path / "run", ["none", "flip"], FEW_ATTACKS[:1], adaptive=False)
    assert [figure.key for figure in figures([simple])] == [*expected, "detection"]
    (undefended,) = made_reports(tmp_path / "bare", ["none"], FEW_ATTACKS[:1])
    assert [figure.key for figure in figures([undefended])] == [key for key in expected if key != "quality-gain"]


def test_several_metrics_have_their_own_figures(tmp_path: Path) -> None:
    """Each with the metric in its key, title and description, and a field that says which."""
    reports = made_reports(tmp_path / "run", ["none", "flip"], FEW_ATTACKS[:1], metrics=("bright", "red"))
    found = figures(reports)
    assert len({figure.key for figure in found}) == len(found)
    assert {figure.key.split("-")[0] for figure in found} == {figure.metric for figure in found} == {"bright", "red"}
    assert all(figure.title.startswith("Mean <brightness>: ") for figure in found)


def test_a_run_without_a_sound_record_has_no_figure(tmp_path: Path) -> None:
    """And a failed record is in none."""
    (report,) = made_reports(tmp_path / "none", change=failed)
    assert figures([report]) == ()
    (report,) = made_reports(tmp_path / "some", change=lambda r: failed(r) if r.image == "0.png" else r)
    clean = cells(drawn(report, "heatmap-gain").axes[-1])
    untouched = {(r.image, r.chain): r for r in report.records if not r.error and r.chain == "flip"}.values()
    bare = values(list(untouched), "clean_score")
    expected = np.mean(np.abs(bare - values(list(untouched), "clean_defended")) / bare)
    assert len(untouched) == 5
    assert clean[0, FEW_CHAINS.index("flip")] == pytest.approx(expected)


def test_degraded_copies_are_in_no_figure(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """They test the order of scores; nobody attacks with them."""
    assert rows_of(report) == [report.attack_name(attack) for attack in FEW_ATTACKS]
    before = named(report, "detection").alt
    monkeypatch.setattr(FGSM, "is_degradation", True, raising=False)
    assert rows_of(report) == [report.attack_name(attack) for attack in FEW_ATTACKS[1:]]
    after = {figure.key: figure.alt for figure in figures([report])}
    assert after["detection"] != before
    without = replace(report, records=tuple(r for r in report.records if not r.attack.startswith("fgsm")))
    assert named(without, "detection").alt == after["detection"]


def rows_of(report: Report) -> list[str]:
    """The attacks of the heat map's block of unaware ones."""
    return [label.get_text() for label in drawn(report, "heatmap-gain").axes[1].get_yticklabels()]


@pytest.mark.parametrize(("key", "column"), [("heatmap-gain", "purification_gain"), ("heatmap-srocc", "srocc")])
def test_a_heat_map_has_the_numbers_of_the_table(key: str, column: str, report: Report) -> None:
    """In their cells, printed and coloured; adaptive attacks first; an attack without a chain stands in both blocks."""
    adaptive, unaware, clean = drawn(report, key).axes
    asking = [attack for attack in FEW_ATTACKS if not attack.startswith("free-")]
    rows = {(row.attack, row.chain, row.adaptive): row.scores[column].value for row in report.rows}
    for axes, kind, attacks in ((adaptive, True, asking), (unaware, False, FEW_ATTACKS)):
        table = [[rows[attack, chain, kind and chain != "none"] for chain in FEW_CHAINS] for attack in attacks]
        np.testing.assert_allclose(cells(axes), np.array(table))
        assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for row in table for value in row]
        assert [label.get_text() for label in axes.get_yticklabels()] == [report.attack_name(a) for a in attacks]
    np.testing.assert_allclose(cells(clean), np.array([clean_row(report, column)]), atol=1e-12)
    assert [label.get_text() for label in clean.get_yticklabels()] == ["clean"]


def clean_row(report: Report, column: str) -> list[float]:
    """What the scores of the clean images say of each chain."""
    found = []
    for chain in FEW_CHAINS:
        records = list({r.image: r for r in report.records if r.chain == chain}.values())
        bare, defended = values(records, "clean_score"), values(records, "clean_defended")
        srocc = stats.spearmanr(bare, defended).statistic
        found.append(float(srocc if column == "srocc" else np.mean(np.abs(bare - defended) / bare)))
    return found


def test_a_missing_number_leaves_its_cell_empty(tmp_path: Path) -> None:
    """It has a dash, in the page's colour of text."""
    (report,) = made_reports(tmp_path / "run", change=lambda r: replace(r, clean_score=0.0) if r.chain == "flip" else r)
    unaware = drawn(report, "heatmap-gain").axes[1]
    assert np.ma.getmaskarray(cells(unaware))[:, FEW_CHAINS.index("flip")].all()
    assert unaware.texts[FEW_CHAINS.index("flip")].get_text() == "–"


def test_the_bars_of_the_gains_have_the_table_s_numbers_the_adaptive_ones_above(report: Report) -> None:
    """A pair of bars for each chain and attack that has both."""
    drawing = drawn(report, "gains")
    rows = {(row.attack, row.chain, row.adaptive): row.scores["absolute_gain"].value for row in report.rows}
    for axes, attack in zip(drawing.axes, FEW_ATTACKS, strict=True):
        bars: dict[tuple[str, str], tuple[float, float]] = {}
        for bar in axes.patches:
            place = bar.get_y() + bar.get_height() / 2  # type: ignore[attr-defined]
            bars[FEW_CHAINS[round(place)], to_hex(bar.get_facecolor())] = (place, bar.get_width())  # type: ignore[attr-defined]
        by_row = {(chain, knew): number for (of, chain, knew), number in rows.items() if of == attack}
        assert len(bars) == len(by_row)
        for (chain, knew), number in by_row.items():
            place, width = bars[chain, ADAPTIVE if knew else PLAIN]
            assert width == pytest.approx(number)
            if (chain, not knew) in by_row:
                assert bool(place < FEW_CHAINS.index(chain)) is knew  # the axis runs downwards
        assert axes.yaxis_inverted()


def test_the_scatter_has_gain_and_quality_of_each_chain(report: Report) -> None:
    """Means over all attacked images of a kind of attacker."""
    drawing = drawn(report, "quality-gain")
    for adaptive in (True, False):
        points = panel(drawing, WORDS[adaptive]).collections[0].get_offsets()
        expected = []
        for chain in FEW_CHAINS:
            records = behind(report, chain, adaptive=adaptive)
            quality = values(records, "purified_ssim") / 2 + values(records, "purified_psnr") / 160
            expected.append((gain(records).mean(), quality.mean()))
        assert np.array(points) == pytest.approx(np.array(expected))


def test_gain_against_minimum_ssim_is_that_of_the_images_which_look_so_alike(report: Report) -> None:
    """At every point of every line, until fewer than three images are left."""
    drawing = drawn(report, "gain-ssim")
    for adaptive in (True, False):
        for chain in FEW_CHAINS:
            records = behind(report, chain, adaptive=adaptive)
            x, y = line(panel(drawing, WORDS[adaptive]), chain)
            assert x[0] == min(values(report.records, "ssim"))
            for least, shown in zip(x, y, strict=True):
                kept = [record for record in records if record.ssim is not None and record.ssim >= least]
                assert shown == pytest.approx(gain(kept).mean())
                assert len({record.image for record in kept}) >= 3


def test_gain_against_attacked_score_counts_every_image_in_one_part(report: Report) -> None:
    """Six images make two parts of all attacked images together; a part with fewer than three images has no point."""
    drawing = drawn(report, "gain-score")
    edges = np.quantile(values(report.records, "attacked_score"), np.linspace(0, 1, 3))
    for adaptive in (True, False):
        for chain in FEW_CHAINS:
            records = behind(report, chain, adaptive=adaptive)
            places = np.searchsorted(edges[1:-1], values(records, "attacked_score"), side="right")
            names = np.array([record.image for record in records])
            enough = [part for part in range(2) if len(set(names[places == part])) >= 3]
            _, y = line(panel(drawing, WORDS[adaptive]), chain)
            assert y == pytest.approx([gain(records)[places == part].mean() for part in enough])


def test_with_a_map_onto_a_reference_its_scores_are_shown(report: Report) -> None:
    """Gain of mapped scores, over mapped scores."""
    scale = ScoreRange(low=0, high=10, higher_is_better=True)
    mapped = replace(report, transform=SimpleNamespace(apply=lambda scores: scores / 10 + 1, range=scale))
    records = behind(report, "flip", adaptive=True)
    clean, attacked = values(records, "clean_score") / 10 + 1, values(records, "attacked_defended") / 10 + 1
    _, y = line(panel(drawn(mapped, "gain-ssim"), AWARE_WORDS), "flip")
    assert y[0] == pytest.approx(np.mean(np.abs(clean - attacked) / clean))
    x, _ = line(panel(drawn(mapped, "gain-score"), AWARE_WORDS), "none")
    assert 1 < min(x) < max(x) < 11


def test_a_sweep_shows_three_numbers_over_the_parameter(report: Report) -> None:
    """Gain, SROCC and Quality of each chain, over all attacked images; undefended as a line across."""
    drawing = drawn(report, "sweep-jpeg-quality")
    measures: list[Callable[[Sequence[Record]], float]] = [mean_gain, srocc, quality]
    for axes, of in zip(drawing.axes, measures, strict=True):
        lines = {line.get_color(): line for line in axes.lines}
        for colour, adaptive in ((ADAPTIVE, True), (PLAIN, False)):
            x, y = coordinates(lines[colour])
            assert x == [10, 50, 90]
            expected = [of(behind(report, chain, adaptive=adaptive)) for chain in JPEG]
            assert y == pytest.approx(expected)
        (reference,) = [line for colour, line in lines.items() if colour not in {ADAPTIVE, PLAIN}]
        assert coordinates(reference)[1][0] == pytest.approx(of(behind(report, "none", adaptive=False)))


def mean_gain(records: Sequence[Record]) -> float:
    """Gain over records."""
    return float(gain(records).mean())


def srocc(records: Sequence[Record]) -> float:
    """Rank correlation of clean undefended and attacked defended scores."""
    return float(stats.spearmanr(values(records, "clean_score"), values(records, "attacked_defended")).statistic)


def quality(records: Sequence[Record]) -> float:
    """Mean of SSIM / 2 + PSNR / 160."""
    return float(np.mean(values(records, "purified_ssim") / 2 + values(records, "purified_psnr") / 160))


@pytest.mark.parametrize(
    ("chains", "found"),
    [
        (JPEG, [("jpeg", "quality", "jpeg:subsampling=4:2:0", [10, 50, 90])]),
        (JPEG[:2], []),
        ((*JPEG[:2], "jpeg:quality=90:subsampling=4:4:4"), []),
        (
            ("blur:sigma=2+flip", "blur:sigma=1+flip", "blur:sigma=3+flip", "blur:sigma=4"),
            [("blur", "sigma", "blur+flip", [1, 2, 3])],
        ),
        (("a:x=1+a:x=1", "a:x=1+a:x=2", "a:x=1+a:x=3"), [("a", "x", "a:x=1+a", [1, 2, 3])]),
    ],
)
def test_a_sweep_is_three_values_of_one_parameter_with_all_else_equal(chains: Sequence[str], found: list[Any]) -> None:
    """Wherever its step stands in a chain."""
    assert [(s.defence, s.parameter, s.others, list(s.chains)) for s in sweeps_in(chains)] == found


def test_two_sweeps_of_one_parameter_have_two_keys(tmp_path: Path) -> None:
    """One of them behind another step."""
    chains = ["none", *(f"{before}blur:sigma={sigma}" for before in ("", "flip+") for sigma in (1, 2, 3))]
    (report,) = made_reports(tmp_path / "run", chains, FEW_ATTACKS[:1], 4)
    found = {figure.key: figure.title for figure in figures([report]) if figure.key.startswith("sweep")}
    assert found == {"sweep-blur-sigma": "blur by sigma", "sweep-blur-sigma-2": "blur by sigma (flip+blur)"}


def test_the_budget_curve_is_the_mean_gain_at_each_budget(report: Report) -> None:
    """From nothing on; its area is that of the trapezoids below it, over the range of the budgets."""
    figure = named(report, "budget-ifgsm-eps")
    drawing = figure.draw()
    for adaptive in (True, False):
        for chain in FEW_CHAINS:
            records = behind(report, chain, adaptive=adaptive)
            means = [0.0]
            for attack in FEW_ATTACKS[1:3]:
                mine = [record for record in records if record.attack == attack]
                means.append(float((values(mine, "attacked_defended") - values(mine, "clean_defended")).mean() / 100))
            x, y = line(panel(drawing, WORDS[adaptive]), chain)
            assert x == pytest.approx([0, 2, 8])
            assert y == pytest.approx(means)
            assert f"{report.label(chain)} {np.trapezoid(means, x) / 8:.3f}" in figure.alt


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["ifgsm:alpha=0.01:eps=0.02:mode=paper", "ifgsm:alpha=0.02:eps=0.04:mode=paper"], [("eps", [5.1, 10.2])]),
        (["ifgsm:eps=0.02:mode=paper", "ifgsm:eps=0.04:mode=benchmark"], []),
        (["ifgsm:direction=up:eps=0.02", "ifgsm:direction=down:eps=0.04"], []),
        (["ifgsm:eps=0.02:iterations=5", "ifgsm:eps=0.02:iterations=10"], []),
        (
            ["ifgsm:eps=0.02:iterations=5", "ifgsm:eps=0.04:iterations=5", "ifgsm:eps=0.04:iterations=9"],
            [("eps", [5.1, 10.2])],
        ),
        (["square:eps=0.1:queries=10", "square:eps=0.1:queries=100"], [("queries", [10, 100])]),
        (["free-jpeg:min_ssim=0.9:quality=75", "free-jpeg:min_ssim=0.8:quality=75"], [("min_ssim", [0.1, 0.2])]),
        (["free-jpeg:min_ssim=0.9:quality=75", "free-jpeg:min_ssim=0.9:quality=50"], []),
        (["fgsm:eps=0.02", "ifgsm:eps=0.04"], []),
    ],
)
def test_attacks_of_one_kind_at_several_budgets_are_found(texts: list[str], found: list[Any]) -> None:
    """What a method's budget names, and its queries; never two variants of it on one curve."""
    ladders = ladders_in(texts)
    assert [ladder.parameter for ladder in ladders] == [parameter for parameter, _ in found]
    for ladder, (_, budgets) in zip(ladders, found, strict=True):
        assert list(ladder.attacks) == pytest.approx(budgets)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_area_of_detection_is_the_share_of_pairs_told_apart(higher_is_better: bool, tmp_path: Path) -> None:
    """By Mann and Whitney; the drawn curve has the same area below it."""
    (report,) = made_reports(tmp_path / "run", higher_is_better=higher_is_better)
    figure, sign = named(report, "detection"), 1 if higher_is_better else -1
    drawing = figure.draw()
    for adaptive in (True, False):
        for chain in FEW_CHAINS[1:]:
            records = behind(report, chain, adaptive=adaptive)
            clean = {r.image: r for r in records}.values()
            gaps = [sign * (values(list(of), f"{name}_score") - values(list(of), f"{name}_defended"))
                    for name, of in (("attacked", records), ("clean", clean))]  # fmt: skip
            area = stats.mannwhitneyu(*gaps).statistic / (len(gaps[0]) * len(gaps[1]))
            x, y = line(panel(drawing, WORDS[adaptive]), chain)
            assert np.trapezoid(y, x) == pytest.approx(area)
            assert f"{report.label(chain)} {area:.3f}" in figure.alt


def test_many_chains_have_a_panel_each_and_few_share_one(report: Report, many: Report) -> None:
    """The best one first; undefended scores are in every panel to compare with."""
    assert len(drawn(report, "gain-ssim").axes) == 2
    axes = drawn(many, "gain-ssim").axes
    assert len(axes) == len(MANY_CHAINS) - 1
    means = []
    for each in axes:
        (chain,) = {line.get_label() for line in each.lines} - {"none"}
        assert each.texts[0].get_text() == wrapped(many.label(str(chain)), 22)
        lines = {str(line.get_color()): coordinates(line)[1][0] for line in each.lines if line.get_label() == chain}
        for colour, adaptive in ((ADAPTIVE, True), (PLAIN, False)):
            assert lines[colour] == pytest.approx(gain(behind(many, str(chain), adaptive=adaptive)).mean())
        means.append(lines[ADAPTIVE])
        assert [text.get_text() for text in each.texts[1:]] == [f"{lines[ADAPTIVE]:.3f}", f"{lines[PLAIN]:.3f}"]
    assert means == sorted(means)


KEYS = ("gains", "heatmap-gain", "quality-gain", "gain-ssim", "sweep-jpeg-quality", "budget-ifgsm-eps", "detection")


@pytest.mark.parametrize(
    ("which", "key"),
    [
        *(("report", key) for key in KEYS),
        ("many", "quality-gain"),
        ("many", "detection"),
        *(pytest.param("many", key, marks=pytest.mark.slow) for key in ("gains", "heatmap-gain")),
    ],
)
def test_no_text_of_a_figure_is_cut_or_covers_another(which: str, key: str, request: pytest.FixtureRequest) -> None:
    """With five chains and four attacks as with twenty and fourteen."""
    drawing = drawn(request.getfixturevalue(which), key)
    canvas = FigureCanvasAgg(drawing)
    canvas.draw()  # type: ignore[no-untyped-call]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(drawing) if text.get_text().strip()]
    width, height = drawing.bbox.width, drawing.bbox.height
    assert len(boxes) > 10
    for place, (text, box) in enumerate(boxes):
        assert -1 <= box.x0 < box.x1 <= width + 1, text
        assert -1 <= box.y0 < box.y1 <= height + 1, text
        for other, there in boxes[:place]:
            across, up = min(box.x1, there.x1) - max(box.x0, there.x0), min(box.y1, there.y1) - max(box.y0, there.y0)
            assert across <= 1 or up <= 1, (text, other)


def texts_of(drawing: Drawing) -> Iterator[Text]:
    """What is drawn of the texts of a figure."""
    yield from drawing.texts
    for legend in drawing.legends:
        yield from [legend.get_title(), *legend.get_texts()]
    for axes in drawing.axes:
        yield from axes.texts
        yield from [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]  # type: ignore[attr-defined]
        for axis, ends, place in ((axes.xaxis, axes.get_xlim(), 0), (axes.yaxis, axes.get_ylim(), 1)):
            for text in axis.get_ticklabels() if axis.get_visible() else ():
                # Numbers beyond the ends of an axis are there, and not drawn.
                if text.get_visible() and min(ends) <= text.get_position()[place] <= max(ends):
                    yield text


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20, unique=True))
def test_labels_of_points_never_cover_each_other(points: list[tuple[float, float]]) -> None:
    """However close together the points are."""
    drawing = Drawing(figsize=(5, 3))
    axes = drawing.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.set_xlim(-0.1, 1.1)
    axes.set_ylim(-0.1, 1.1)
    place_labels(axes, points, [str(number) for number in range(len(points))], size=7.5)
    canvas = FigureCanvasAgg(drawing)
    canvas.draw()  # type: ignore[no-untyped-call]
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == len(points)
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place])


@pytest.mark.parametrize(
    ("chain", "width", "lines"),
    [
        ("jpeg:quality=50", 22, ["jpeg:quality=50"]),
        ("blur:sigma=1.5+jpeg:quality=75", 22, ["blur:sigma=1.5+", "jpeg:quality=75"]),
        ("bilateral:sigma_color=0.1:sigma_space=2", 22, ["bilateral:", "sigma_color=0.1:", "sigma_space=2"]),
        ("jpeg:quality=50:subsampling=4:2:0", 22, ["jpeg:quality=50:", "subsampling=4:2:0"]),
        ("flip+flip+flip", 22, ["flip+flip+flip"]),
    ],
)
def test_a_chain_breaks_between_its_steps_then_its_parameters(chain: str, width: int, lines: list[str]) -> None:
    """Never inside one, and nothing is lost."""
    assert wrapped(chain, width).split("\n") == lines


def test_descriptions_state_the_numbers(report: Report) -> None:
    """The highest and the lowest of a heat map, and those of every chain."""
    alts = {figure.key: figure.alt for figure in figures([report])}
    rows = [row for row in report.rows if row.adaptive or row.chain == "none"]
    most = max(rows, key=lambda row: row.scores["purification_gain"].value)
    where = f"{report.attack_name(most.attack)} behind {report.label(most.chain)}"
    assert f"highest {most.scores['purification_gain'].value:.3f} ({where})" in alts["heatmap-gain"]
    least = min((row for row in report.rows if not row.adaptive), key=lambda row: row.scores["absolute_gain"].value)
    assert (
        f"the least, {least.scores['absolute_gain'].value:.3f}, by {report.attack_name(least.attack)}" in alts["gains"]
    )
    of_flip = gain(behind(report, "flip", adaptive=True)).mean()
    for key in ("gain-ssim", "quality-gain"):
        assert f"flip {of_flip:.3f}" in alts[key]
    assert f"{gain(behind(report, JPEG[1], adaptive=False)).mean():.3f} at 50" in alts["sweep-jpeg-quality"]
    assert all(math.isfinite(len(alt)) and len(alt) > 60 for alt in alts.values())
