"""The datasheet of a data set, README.md: the questions of Gebru et al. (2021), answered from the run.

Its header is what the library `datasets` reads: the table as Parquet is the one that belongs to the images, since the
library refuses a folder where it could be either, and types are lost in CSV.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import jinja2
import yaml

from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.dataset.file_names import ATTACKED, CLEAN
from scoreguard_client.dataset.rows import Table, chain_labels
from scoreguard_client.dataset.table_files import CSV, PARQUET
from scoreguard_client.report.naming import attack_names

NOT_STATED: Final = "not stated"
SPLIT: Final = "test"
"""The one split: robustness is measured on it, and nothing was trained."""
LICENCES: Final = frozenset(
    {
        *("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0"),
        *("cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "cc-by-2.0", "cc-by-3.0", "cc-by-sa-3.0", "odbl", "pddl"),
    }
)
"""Identifiers that the library's hub knows; any other licence is given by its name."""
_SHOWN_SIZES: Final = 20
_NEVER_FOLDED: Final = 10_000
"""Characters of a line of the header."""
_SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What a datasheet is made of."""

    title: str
    """Name of the data set."""
    licence: str
    """Licence of the images, or `NOT_STATED`."""
    source: str
    """Where the clean images are from, or `NOT_STATED`."""
    plan: Plan
    """The plan of the run."""
    facts: Mapping[str, Any]
    """What the run states beside it."""
    table: Table
    """The table."""
    failed: int
    """Records of the run that failed."""


def datasheet(sheet: Sheet) -> str:
    """Return README.md."""
    header = yaml.safe_dump(_header(sheet), sort_keys=False, allow_unicode=True, width=_NEVER_FOLDED)
    # Markdown, not HTML: nothing to escape but what would end a cell.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["cell"] = lambda text: str(text).replace("|", "&#124;")
    source = resources.files("scoreguard_client.dataset").joinpath("templates/datasheet.md.j2").read_text("utf-8")
    plan, titles = sheet.plan, {name: sheet.facts["metrics"][name]["title"] or name for name in sheet.plan.names}
    sizes = Counter(f"{image.width}x{image.height}" for image in plan.images)
    body = environment.from_string(source, globals={"sheet": sheet, "csv": CSV, "parquet": PARQUET, "split": SPLIT})
    return f"---\n{header}---\n" + body.render(
        titles=titles.values(),
        attacks=list(_attacks(sheet)),
        chains=chain_labels(plan, sheet.facts),
        sizes=sizes.most_common(_SHOWN_SIZES),
        flagged=sum(1 for row in sheet.table.rows if row["flags"]),
        metrics=[(plan.metric(name), title) for name, title in titles.items()],
    )


def _attacks(sheet: Sheet) -> Iterator[dict[str, Any]]:
    count = Counter(str(row["attack"]) for row in sheet.table.rows)
    for text, name in attack_names(sheet.plan.attacks).items():
        if count[text]:
            kind = kind_of(text)
            yield {"name": name, "text": text, "images": count[text], "budget": kind.budget, "paper": kind.paper}


def licences(sheet: Sheet) -> str:
    """Return LICENSES."""
    return (
        "Clean images (clean/)\n"
        f"  source:  {sheet.source}\n"
        f"  licence: {sheet.licence}\n\n"
        "Attacked images (attacked/)\n"
        "  derived from the clean images: what their licence says of derived works holds for them.\n\n"
        f"Tables and datasheet ({CSV}, {PARQUET}, README.md)\n"
        "  facts measured by the program scoreguard, which claims no rights in them.\n"
    )


def _header(sheet: Sheet) -> dict[str, Any]:
    known = sheet.licence.lower()
    if sheet.licence == NOT_STATED:
        licence = {"license": "unknown"}
    else:
        licence = {"license": known} if known in LICENCES else {"license": "other", "license_name": sheet.licence}
    images = [{"name": name, "dtype": "image"} for name in ("image", "clean")]
    files = {"file_name", "clean_file_name"}
    others = [{"name": c.name, "dtype": c.kind} for c in sheet.table.columns if c.name not in files]
    rows = len(sheet.table.rows)
    return {
        "pretty_name": sheet.title,
        **licence,
        "tags": ["image-quality-assessment", "adversarial-examples", "scoreguard"],
        "size_categories": [next((name for most, name in _SIZES if rows < most), "n>1M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": SPLIT, "path": [PARQUET, f"{ATTACKED}/**", f"{CLEAN}/**"]}],
            }
        ],
        "dataset_info": {"features": [*images, *others], "splits": [{"name": SPLIT, "num_examples": rows}]},
    }
