"""What lies outside docs/ and belongs on the site: the README as its first page, its neighbours, and the examples.

Pages link to the places of these files in the repository; here those links become links of the site.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

EXAMPLES: Final = "examples.md"
NEIGHBOURS: Final = {
    "README.md": "index.md",
    **{name: name for name in ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CITATION.cff")},
}
"""Files of the repository's root by their names on the site."""
LANGUAGES: Final = {".py": "python", ".toml": "toml", ".sh": "bash"}
_LINK: Final = re.compile(r"\]\((?:\.\./)?examples/(?P<path>[\w./-]*)\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from the root and the page of examples."""
    root = Path(config.config_file_path).parent
    for source, name in NEIGHBOURS.items():
        content = (root / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=content))
    files.append(File.generated(config, EXAMPLES, content=examples_page(root / "examples")))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to examples into links to their page."""
    return _LINK.sub(lambda match: f"]({EXAMPLES}{_anchor(match['path'])})", markdown)


def examples_page(folder: Path) -> str:
    """Every example as it stands in the repository, under its path."""
    lines = ["# Examples", "", "The sources of `examples/`; each is run by a test against a live service.", ""]
    for path in sources(folder):
        name = path.relative_to(folder).as_posix()
        lines += [f"## {name} {{{_anchor(name)}}}", "", f"```{LANGUAGES[path.suffix]}"]
        lines += [path.read_text(encoding="utf-8").rstrip(), "```", ""]
    return "\n".join(lines)


def sources(folder: Path) -> Iterator[Path]:
    """The files that are shown, scripts first; an empty `__init__` shows nothing."""
    found = [path for path in folder.rglob("*") if path.suffix in LANGUAGES and path.name != "__init__.py"]
    return iter(sorted(found, key=lambda path: (len(path.relative_to(folder).parts), path.as_posix())))


def _anchor(path: str) -> str:
    """Where a file is on the page; a folder is where its description is, and all of them are the page."""
    if not path:
        return ""
    file = path if Path(path).suffix else f"{path.rstrip('/')}/pyproject.toml"
    return "#" + re.sub(r"[^a-z0-9]+", "-", file.lower())
