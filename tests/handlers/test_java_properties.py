"""Properties files as Java reads them: Latin-1, with escapes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from scoreguard_handlers.torchserve.command import find_java
from scoreguard_handlers.torchserve.java_properties import escape_value, render_properties

VALUES = {
    "plain": "/srv/models",
    "blanks": "  /srv/two  words",
    "backslash": "C:\\models\\n",
    "signs": "#a!b:c=d%20",
    "umlaut": "/srv/ä",
    "beyond": "/srv/日本/😀",
    "lines": "a\nb\tc\rd",
    "empty": "",
}
PROGRAM = """
import java.nio.charset.StandardCharsets;
public class Show {
    public static void main(String[] a) throws Exception {
        var values = new java.util.Properties();
        try (var in = new java.io.FileInputStream(a[0])) { values.load(in); }
        for (int i = 1; i < a.length; i++) {
            System.out.write((values.getProperty(a[i]) + "\\0").getBytes(StandardCharsets.UTF_8));
        }
        System.out.flush();
    }
}
"""


@pytest.mark.parametrize(
    ("value", "escaped"),
    [("a b", "a b"), (" a", "\\ a"), ("a\\b", "a\\\\b"), ("ä", "\\u00e4"), ("😀", "\\ud83d\\ude00"), ("#:=%", "#:=%")],
)
def test_only_what_java_would_change_is_escaped(value: str, escaped: str) -> None:
    """A path of plain characters stays readable."""
    assert escape_value(value) == escaped


def test_java_reads_back_what_was_written(tmp_path: Path) -> None:
    """Java itself loads the file and prints each value."""
    (tmp_path / "Show.java").write_text(PROGRAM)
    (tmp_path / "a.properties").write_text(render_properties(VALUES), encoding="latin-1")
    # The Java of the wheel runs programs, but cannot compile one.
    command = [shutil.which("java") or find_java(), "-Xint", "Show.java", "a.properties", *VALUES]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    if b"jdk.compiler" in answer.stderr:
        pytest.skip("this Java cannot compile")
    assert answer.stdout.decode().split("\0")[:-1] == list(VALUES.values()), answer.stderr.decode()
