"""BibTeX of every metric, attack and defence of a run, and of the scores that its tables print.

The text that a class states of its source, `Authors: Title. Venue (arXiv 1234.56789)`, is taken apart; one of another
form becomes a note, so that nothing is lost and nothing is made up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase
from typing import Final

from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.report.attack_references import ATTACKS
from scoreguard_client.report.build import Report
from scoreguard_client.report.method_papers import DEFENCES, METRICS
from scoreguard_client.report.references import OURS, SCORES, Reference
from scoreguard_client.report.writers.latex import escaped

FILE: Final = "citations.bib"
_OWN: Final = "scoreguard's own"
_NOBODYS: Final = ("none", "ours")
"""How the source of a method begins that is in no paper."""
_ARXIV: Final = re.compile(r"\s*\(?arXiv[ :](\d{4}\.\d{4,5})\)?")
_OTHERS: Final = " et al."
_SMALL_WORDS: Final = frozenset({"a", "an", "the", "on", "of"})


def bibtex(reports: Sequence[Report]) -> str:
    """Return the entries of everything that a run used, each once, sorted by their keys.

    Args:
        reports: of each metric of one run.
    """
    return "\n".join(entry(reference) for reference in unique(references_of(reports)))


def references_of(reports: Sequence[Report]) -> list[Reference]:
    """Return the sources of a run: of its scores, metrics, attacks and defences."""
    plan, found = reports[0].plan, list(SCORES)
    for report in reports:
        found += [of_method(report.metric.name, METRICS, report.papers), *_reference_metric(report)]
    for attack in plan.attacks:
        found += of_attack(attack)
    chains = dict.fromkeys(chain for metric in plan.metrics for chain in metric.chains if chain != UNDEFENDED)
    papers = {name: paper for report in reports for name, paper in report.papers.items()}
    for name in dict.fromkeys(step.name for chain in chains for step in parse_chain(chain)):
        found.append(of_method(name, DEFENCES, papers))
    return found


def _reference_metric(report: Report) -> list[Reference]:
    """Return the source of the metric that scores were mapped onto, if it is one of ours."""
    name = report.transform.reference_name if report.transform else ""
    return [of_method(name, METRICS, {})] if name in METRICS else []


def of_attack(attack: str) -> tuple[Reference, ...]:
    """Return the sources of an attack, given in its text form."""
    kind = kind_of(attack)
    if kind.name in ATTACKS:
        return ATTACKS[kind.name]
    if kind.paper.startswith(_NOBODYS) and kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return (OURS,)
    return (reference_of(kind.name, kind.paper, kind.year),)


def of_method(name: str, known: Mapping[str, tuple[str, int]], told: Mapping[str, tuple[str, int]]) -> Reference:
    """Return the source of a metric or a defence.

    Args:
        name: its name.
        known: what this package knows: paper and year by name.
        told: what the run's server said of its methods, which counts if there is anything.
    """
    stated = [paper for paper in (told.get(name), known.get(name)) if paper is not None and paper[0]]
    if not stated:
        return Reference(key=_slug(name), authors=(), year=0, note=f"{name}: its source is not known to this run")
    return reference_of(name, *stated[0])


def reference_of(name: str, paper: str, year: int) -> Reference:
    """Take a source apart.

    Args:
        name: of the method, the key if nothing else is there.
        paper: what the method's class says of it.
        year: its year.
    """
    if paper.startswith(_OWN):
        return OURS
    arxiv = _ARXIV.search(paper)
    number = arxiv.group(1) if arxiv else ""
    authors, colon, rest = _ARXIV.sub("", paper).partition(": ")
    if not colon or paper.startswith(_NOBODYS):
        return Reference(key=f"{_slug(name)}{year}", authors=(), year=year, arxiv=number, note=f"{name}: {paper}")
    title, _, venue = rest.rpartition(". ") if ". " in rest else (rest, "", "")
    names = _names(authors)
    key = f"{_slug(names[0])}{year}{_slug(_first_word(title))}"
    return Reference(key=key, authors=names, year=year, title=title.rstrip("."), venue=venue, arxiv=number)


def unique(references: Iterable[Reference]) -> list[Reference]:
    """Return each source once, sorted by key; two with the same key get a letter, and two of one paper are one."""
    by_paper: dict[str, Reference] = {}
    for reference in references:
        by_paper.setdefault(reference.arxiv or f"{reference.key} {reference.title}", reference)
    keys: dict[str, list[Reference]] = {}
    for reference in by_paper.values():
        keys.setdefault(reference.key, []).append(reference)
    return [
        replace(reference, key=key + ascii_lowercase[index]) if len(alike) > 1 else reference
        for key, alike in sorted(keys.items())
        for index, reference in enumerate(alike)
    ]


def entry(reference: Reference) -> str:
    """Format one source as BibTeX."""
    fields = {
        "author": " and ".join(name if name.startswith("{") else escaped(name) for name in reference.authors),
        "title": f"{{{escaped(reference.title)}}}" if reference.title else "",
        "howpublished": escaped(reference.venue),
        "year": str(reference.year or ""),
        "eprint": reference.arxiv,
        "archiveprefix": "arXiv" if reference.arxiv else "",
        "doi": reference.doi,
        "note": escaped(reference.note),
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{reference.key},", *lines, "}", ""])


def _names(authors: str) -> tuple[str, ...]:
    if authors.endswith(_OTHERS):
        return (*_names(authors.removesuffix(_OTHERS)), "others")
    return tuple(name.strip() for name in re.split(r", | and ", authors))


def _first_word(title: str) -> str:
    words = [word for word in title.split() if word.lower() not in _SMALL_WORDS]
    return words[0].split("-")[0] if words else ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
