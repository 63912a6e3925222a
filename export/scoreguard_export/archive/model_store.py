"""The files next to the archives: what plain `torchserve --start` needs to serve them safely and quietly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import quote

from scoreguard.support.shown import shown
from scoreguard.v1.torchserve import EVERYWHERE, addresses

CONFIG_NAME: Final = "config.properties"
LOG_CONFIG_NAME: Final = "log4j2.xml"
_STOCK_PORTS: Final = (8080, 8081, 8082)
"""Ports of TorchServe's REST interfaces: inference, management, metrics."""
_DIRECT_BYTES: Final = 256 << 20
"""Memory outside the heap for Java and each of its two copies of Netty; the default limit is the heap's."""

_CONFIG: Final = Template("""\
# Written by scoreguard-export build. TorchServe listens on loopback only, and every user of the machine may call and
# manage it: its own keys would refuse the documented curl. scoreguard-serve in front of it does not have this problem.
# Where the path of the store is not ASCII, start it with LC_ALL=C.UTF-8: Java reads file names by the locale.
$addresses
disable_token_authorization=true
$everywhere
# 64 MiB: a 4K frame as 8-bit values, a full-HD one as floats. The stock limit is 6.5 MB.
max_request_size=67108864
max_response_size=67108864
default_workers_per_model=1
job_queue_size=100
metrics_mode=prometheus
# Forms arrive as bytes, whatever their content type says.
decode_input_request=false
vmargs=$java_options
""")

_LOG: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- Written by scoreguard-export build. TorchServe's own configuration writes about twenty lines a request. -->
<Configuration status="ERROR">
  <Appenders>
    <Console name="console" target="SYSTEM_ERR">
      <PatternLayout pattern="%d{ISO8601} %-5p %c{1} %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Root level="warn"><AppenderRef ref="console"/></Root>
    <Logger name="ACCESS_LOG" level="off" additivity="false"/>
    <Logger name="TS_METRICS" level="off" additivity="false"/>
    <Logger name="MODEL_METRICS" level="off" additivity="false"/>
    <Logger name="MODEL_LOG" level="warn"/>
  </Loggers>
</Configuration>
"""


def write_server_files(model_store: Path) -> list[Path]:
    """Write `config.properties` and `log4j2.xml`; the first refers to the second by absolute path.

    TorchServe may be started in any folder; if a store is moved, `config.properties` must be written again.
    """
    files = _server_files(model_store)
    for path, text in files.items():
        path.write_text(text)
    return list(files)


def edited_server_files(model_store: Path) -> list[str]:
    """List what differs in the two files from what a build writes: `file: setting`, or `file` if it is no setting.

    An operator may have good reasons; in a store from elsewhere such a line can run code (`vmargs`) or open ports. A
    missing file is not listed.
    """
    return [name for path, text in _server_files(model_store).items() for name in _differences(path, text)]


def _server_files(model_store: Path) -> dict[Path, str]:
    config, log = model_store / CONFIG_NAME, model_store / LOG_CONFIG_NAME
    return {config: _config(log.absolute()), log: _LOG}


def _config(log: Path) -> str:
    return _CONFIG.substitute(
        addresses=_lines(addresses(*_STOCK_PORTS)), everywhere=_lines(EVERYWHERE), java_options=_java_options(log)
    )


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={value}" for key, value in values.items())


def _differences(path: Path, expected: str) -> list[str]:
    if not path.is_file():
        return []
    found = path.read_text(errors="replace")
    if path.name != CONFIG_NAME:
        return [path.name] if found != expected else []
    lines = set(found.splitlines()) ^ set(expected.splitlines())
    names = {shown(line.partition("=")[0].strip()) for line in lines if line.strip() and not line.startswith("#")}
    return [f"{path.name}: {name}" for name in sorted(names)]


def _java_options(log_config: Path) -> str:
    # TorchServe splits this text at blanks, and log4j reads the path as a URL: quoting makes every character safe.
    address = quote(log_config.as_posix())
    netty = [f"-D{prefix}io.netty.maxDirectMemory={_DIRECT_BYTES}" for prefix in ("", "io.grpc.netty.shaded.")]
    options = ["-Xmx256m", f"-XX:MaxDirectMemorySize={_DIRECT_BYTES}", *netty, "-XX:+UseSerialGC"]
    return " ".join([*options, f"-Dlog4j.configurationFile={address}"])
