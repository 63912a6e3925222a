"""The documentation as a site: built as `make docs` builds it, and complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import scoreguard_client
from scoreguard.v1 import manifest_pb2, scoring_pb2, worker_pb2
from scoreguard_client.report.columns import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
FETCHED = re.compile(r"""<(?:script|img|iframe)[^>]*src=["']?https?:|<link[^>]*(?:stylesheet|preconnect)[^>]*https?:""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; a warning would have failed its building."""
    folder = tmp_path_factory.mktemp("site")
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def text_of(site: Path, page: str) -> str:
    """A page's HTML."""
    return (site / page / "index.html").read_text(encoding="utf-8")


def test_every_name_of_the_client_is_in_its_reference(site: Path) -> None:
    """A new one that is not listed would have no documentation on the site."""
    page = text_of(site, "client-api")
    missing = [name for name in scoreguard_client.__all__ if not re.search(rf'id="[\w.]*\b{name}"', page)]
    assert missing == []


def test_the_contract_has_every_call_message_field_and_value_of_the_schema(site: Path) -> None:
    """It is made from the schema's comments, and links lead to where a type is described."""
    page, names = text_of(site, "wire-contract"), set[str]()
    for schema in (scoring_pb2, worker_pb2, manifest_pb2):
        described = schema.DESCRIPTOR
        names |= {method.name for service in described.services_by_name.values() for method in service.methods}
        names |= {field.name for message in described.message_types_by_name.values() for field in message.fields}
        names |= {value.name for enum in described.enum_types_by_name.values() for value in enum.values}
        anchors = {*described.services_by_name, *described.message_types_by_name, *described.enum_types_by_name}
        assert [name for name in anchors if f'id="{name}"' not in page] == []
    assert [name for name in names if f"<code>{name}</code>" not in page] == []


def test_the_report_has_every_column(site: Path) -> None:
    """From the code, with the sentence that is under every table."""
    page = text_of(site, "report")
    assert [column.key for column in COLUMNS if f"<code>{column.key}</code>" not in page] == []
    assert "<!-- report columns -->" not in page


def test_the_examples_are_shown_and_linked(site: Path) -> None:
    """Links into the repository become links of the site."""
    assert "../examples/#plugin-scoreguard-example-tiny-py" in text_of(site, "extending")
    page = text_of(site, "examples")
    examples = list(ROOT.glob("examples/*.py"))
    assert len(examples) == 3
    assert [path.name for path in examples if path.name not in page] == []


def test_a_reader_fetches_nothing_from_elsewhere(site: Path) -> None:
    """No fonts, scripts, styles or images of other hosts."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert [page.name for page in pages if FETCHED.search(page.read_text(encoding="utf-8"))] == []
