"""BibTeX of what a run used: everything has an entry, no entry is there twice, and none is made up."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.clients.report.conftest import FGSM, METRIC, PLAN, MakeRun, record

from scoreguard_client.attacks.catalogue import CATALOGUE as ATTACKS
from scoreguard_client.cli import main
from scoreguard_client.report import TableOptions, read_report
from scoreguard_client.report.citations import bibtex, entry, of_attack, of_method, reference_of, unique
from scoreguard_client.report.method_papers import DEFENCES, METRICS
from scoreguard_client.report.references import OURS, SCORES, Reference

QUICK = TableOptions(resamples=20)


def all_references() -> list[Reference]:
    """The sources of everything that is shipped."""
    methods = [of_method(name, papers, {}) for papers in (METRICS, DEFENCES) for name in papers]
    return [*SCORES, *methods, *(reference for name in ATTACKS for reference in of_attack(name))]


def test_the_papers_of_metrics_and_defences_are_those_of_their_classes() -> None:
    """Word for word: a corrected class corrects the bibliography, or this fails."""
    metrics = pytest.importorskip("scoreguard_export.metrics.catalogue").CATALOGUE
    defences = pytest.importorskip("scoreguard_export.defences.catalogue").CATALOGUE
    for catalogue, known in ((metrics, METRICS), (defences, DEFENCES)):
        stated = {name: (kind.facts.paper, kind.facts.year) for name, kind in catalogue.items() if name in known}
        assert stated == dict(known)
        missing = {name for name, kind in catalogue.items() if kind.__module__.startswith("scoreguard_export")}
        assert not {name for name in missing - set(known) if not name.startswith("pyiqa")}


def test_every_attack_has_a_source_with_the_year_and_the_number_of_its_class() -> None:
    """The table and the classes must not tell different papers."""
    for name, kind in ATTACKS.items():
        references = of_attack(name)
        assert references, name
        for number in re.findall(r"arXiv (\d{4}\.\d{5})", kind.paper):
            if number not in kind.paper.partition("benchmark:")[2]:
                assert number in {reference.arxiv for reference in references}, name
        if OURS not in references and "after" not in kind.paper and len(references) == 1:
            assert abs(references[0].year - kind.year) <= 1, name


def test_keys_are_unique_and_every_entry_is_whole() -> None:
    """One key an entry, balanced braces, and something to find the paper by."""
    references = unique(all_references())
    keys = [reference.key for reference in references]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z0-9]+", key) for key in keys)
    for reference in references:
        text = entry(reference)
        bare = re.sub(r"\\[{}]", "", text)
        assert bare.count("{") == bare.count("}"), text
        assert text.startswith(f"@misc{{{reference.key},\n")
        assert text.endswith("}\n")
        assert reference.title or reference.arxiv or reference.doi, reference.key
        assert reference.authors, reference.key
        assert 1900 < reference.year < 2100


def test_two_methods_of_one_paper_share_its_entry() -> None:
    """Blur and flip are both of the study of purification, which the scores cite already."""
    shared = {of_method(name, DEFENCES, {}).arxiv for name in ("blur", "flip", "resize")}
    assert shared == {"2404.06957"}
    assert sum(reference.arxiv == "2404.06957" for reference in unique(all_references())) == 1


def test_a_source_is_taken_apart() -> None:
    """Authors, title, place and number; what has another form becomes a note, whole."""
    text = "Ying, Niu and Bovik: From Patches: Mapping Quality. CVPR (arXiv 1912.10088)"
    found = reference_of("paq2piq", text, 2020)
    assert found == Reference(
        key="ying2020from",
        authors=("Ying", "Niu", "Bovik"),
        year=2020,
        title="From Patches: Mapping Quality",
        venue="CVPR",
        arxiv="1912.10088",
    )
    other = reference_of("mine", "a blog post_about 50% of it", 2025)
    assert (other.key, other.note) == ("mine2025", "mine: a blog post_about 50% of it")
    assert r"note = {mine: a blog post\_about 50\% of it}" in entry(other)
    nobodys = reference_of("mine", "none: an example", 2026)
    assert (nobodys.authors, nobodys.note) == ((), "mine: none: an example")
    assert reference_of("x", "Su et al.: A Study of Things. CVPR", 2020).authors == ("Su", "others")


def test_two_papers_with_one_key_are_told_apart() -> None:
    """A letter is added to both."""
    pair = [Reference(key="li2020blind", authors=("Li",), year=2020, title=title) for title in ("One", "Two")]
    assert [reference.key for reference in unique(pair)] == ["li2020blinda", "li2020blindb"]


def test_a_run_cites_what_it_used_and_nothing_else(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    """`--cite` prints what `citations.bib` holds: metric, defences and attacks of the plan, and the scores."""
    chain = "jpeg:quality=50:subsampling=4:2:0+median:size=3"
    plan = replace(PLAN, attacks=(FGSM,), metrics=(replace(METRIC, name="nima", chains=("none", chain)),))
    records = [replace(record(n, FGSM, "none", "none", 20.0), metric="nima") for n in range(3)]
    run = make_run(records, plan=plan, labels={"none": "none", chain: "jpeg+median"})
    assert main(["report", str(run), "--cite", "--resamples", "20"]) == 0
    printed = capsys.readouterr().out
    assert printed == (run / "report/citations.bib").read_text()
    keys = re.findall(r"@misc\{(.*),", printed)
    assert set(keys) == {reference.key for reference in SCORES} | {
        "talebi2018nima",
        "goodfellow2015explaining",
        "dziugaite2016study",
    }


def test_what_the_server_said_of_its_methods_counts_first(make_run: MakeRun) -> None:
    """A plug-in's metric is cited by what the run recorded; one that says nothing is named as unknown."""
    papers = {"bright": ["Doe: Brightness is enough. Nowhere", 2021], "dim": ["", 0]}
    told = bibtex([read_report(make_run(papers=papers), QUICK)])
    assert "@misc{doe2021brightness," in told
    assert "dim: its source is not known to this run" in told


def test_cite_belongs_to_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables made elsewhere name neither chains nor parameters that could be cited."""
    path = tmp_path / "fgsm_x_test.csv"
    path.write_text("image,clean,attacked\na,1,2\n")
    assert main(["report", "--from-csv", str(path), "--range", "0,10", "--cite"]) == 2
    assert "--cite goes with a RUN" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "--cite", "--json"]) == 2
    assert "give one of them" in capsys.readouterr().err
