"""The files beside the archives, for plain TorchServe."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from scoreguard_export.archive.model_store import CONFIG_NAME, LOG_CONFIG_NAME, write_server_files


@pytest.mark.parametrize("name", ["plain", "two words", "store #1 50%20", "umlaut-ä", "a=b:c!", "日本"])
def test_java_gets_the_log_configuration_as_one_word_whatever_the_path(tmp_path: Path, name: str) -> None:
    """TorchServe splits `vmargs` at blanks, and log4j reads the path as an address."""
    store = tmp_path / name
    store.mkdir()
    write_server_files(store)
    text = (store / CONFIG_NAME).read_bytes().decode("ascii")
    (options,) = [line.partition("=")[2] for line in text.splitlines() if line.startswith("vmargs=")]
    words = options.split()
    assert all(word.startswith("-") for word in words)
    assert unquote(words[-1]) == f"-Dlog4j.configurationFile={store / LOG_CONFIG_NAME}"


def test_torchserve_finds_it_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was built under a relative path names its files by absolute ones."""
    monkeypatch.chdir(tmp_path)
    Path("store").mkdir()
    write_server_files(Path("store"))
    assert f"-Dlog4j.configurationFile={tmp_path.as_posix()}/store/" in Path("store", CONFIG_NAME).read_text()


def test_the_configuration_is_loopback_and_its_memory_has_limits(tmp_path: Path) -> None:
    """Nothing listens beyond the machine; heap and direct memory are bounded."""
    write_server_files(tmp_path)
    pairs = [line.split("=", 1) for line in (tmp_path / CONFIG_NAME).read_text().splitlines() if line[:1] not in "# "]
    values = dict(pairs)
    assert all("127.0.0.1" in value for key, value in values.items() if key.endswith("_address"))
    for limit in ("-Xmx", "-XX:MaxDirectMemorySize=", "-Dio.netty.maxDirectMemory="):
        assert limit in values["vmargs"]
    ElementTree.parse(tmp_path / LOG_CONFIG_NAME)
