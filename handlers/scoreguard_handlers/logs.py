"""Log lines: always one per record, as text for people or JSON for collectors, with a rate limit per kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from scoreguard_handlers.config import LogConfig
from scoreguard_handlers.rate_limit import RateLimit

FIELDS: Final = "fields"
"""Name of the record attribute that holds the facts by name."""
_PACKAGE: Final = "scoreguard_handlers"


@contextmanager
def logging_to_stderr(config: LogConfig) -> Iterator[None]:
    """Set up logging to standard error as configured: warnings always, the rest if it is verbose."""
    handler, root, ours = logging.StreamHandler(), logging.getLogger(), logging.getLogger(_PACKAGE)
    handler.setFormatter(JsonLines() if config.format == "json" else TextLines())
    handler.addFilter(_is_worth_a_line)
    before = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO if config.verbose else logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(handler)
        ours.setLevel(before)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Drop the records in which gRPC blames us for an answer that it could not send because its caller had gone."""
    raised = record.exc_info[0] if record.exc_info else None
    return not (record.name.startswith("grpc.") and raised is not None and raised.__name__ == "ExecuteBatchError")


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00.123Z WARNING refused code=NOT_FOUND ms=1.2`: time, level, event, facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as one line; the traceback of a bug, if there is one, follows on separate lines."""
        facts = getattr(record, FIELDS, {})
        words = [_moment(record), record.levelname, _one_line(record.getMessage())]
        words += [f"{name}={_word(value)}" for name, value in facts.items()]
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return " ".join(words) + trace


class JsonLines(logging.Formatter):
    """One JSON object per line: `time`, `level`, `event`, `logger`, and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as one line."""
        entry: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname,
            "event": record.getMessage(),
            "logger": record.name,
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def warn(logger: logging.Logger, limit: RateLimit, event: str, kind: Hashable, facts: dict[str, Any]) -> None:
    """Log a warning with its facts, unless one of its kind was just logged; a later one says how many were skipped."""
    held = limit.take(kind)
    if held is not None:
        logger.warning(event, extra={FIELDS: facts | ({"not_logged": held} if held else {})})


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """Escape control characters: text from a caller must not look like a separate line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _word(value: object) -> str:
    text = _one_line(str(value))
    plain = text and not set(text) & set(" =\"'")
    return text if plain else json.dumps(text, ensure_ascii=False)
