"""The accepted bearer tokens: a file that is read again when it changes, and closed whenever it is not as it should be.

Revoking must work even where it is done clumsily: a file that was emptied, deleted or damaged refuses everybody.
"""

from __future__ import annotations

import hmac
import logging
import os
import stat
from pathlib import Path
from typing import Final

from scoreguard_handlers.errors import StartupError

logger = logging.getLogger(__name__)
_ROOT: Final = 0
Stamp = tuple[int, ...]


class TokenFile:
    """The accepted tokens, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            StartupError: it cannot be read, holds no token, or others may write it.
        """
        self._path = path
        self._stamp: Stamp = _stamp(path)
        self._tokens = _read(path)

    @property
    def is_closed(self) -> bool:
        """Whether nobody is accepted, since the file is not as it should be."""
        return not self._current()

    def accepts(self, token: str) -> bool:
        """Whether the token is one of the file's; the time says nothing about how much of it is right."""
        offered = token.encode("utf-8", "surrogatepass")
        matches = [hmac.compare_digest(offered, known) for known in self._current()]
        return any(matches)

    def _current(self) -> tuple[bytes, ...]:
        try:
            stamp = _stamp(self._path)
        except StartupError as error:
            self._change((), (), f"nobody is accepted: {error}")
            return self._tokens
        if stamp != self._stamp:
            try:
                tokens = _read(self._path)
            except StartupError as error:
                self._change(stamp, (), f"nobody is accepted: {error}")
            else:
                self._change(stamp, tokens, f"tokens file {self._path} reloaded: {len(tokens)} accepted")
        return self._tokens

    def _change(self, stamp: Stamp, tokens: tuple[bytes, ...], what: str) -> None:
        """Take over what the file holds now; one line for each change."""
        if stamp != self._stamp:
            self._stamp, self._tokens = stamp, tokens
            logger.log(logging.INFO if tokens else logging.ERROR, what)


def _stamp(path: Path) -> Stamp:
    """Everything that changes when the file, its owner or its permissions do.

    Raises:
        StartupError: there is no such file.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise StartupError(f"cannot read the tokens file {path}: {error.strerror}") from error
    return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino, facts.st_mode, facts.st_uid


def _read(path: Path) -> tuple[bytes, ...]:
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            lines = [line.strip() for line in file.read().decode().splitlines()]
    except UnicodeDecodeError as error:
        raise StartupError(f"the tokens file {path} is not text: {error.reason}") from error
    except OSError as error:
        raise StartupError(f"cannot read the tokens file {path}: {error.strerror}") from error
    tokens = tuple(line.encode() for line in lines if line and not line.startswith("#"))
    if not tokens:
        raise StartupError(f"the tokens file {path} holds no token; write one a line")
    return tokens


def _check_owner(path: Path, facts: os.stat_result) -> None:
    """Whoever may write the file may let himself in."""
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StartupError(f"the tokens file {path} may be written by others: chmod go-w it")
    if facts.st_uid not in {_ROOT, os.geteuid()}:
        raise StartupError(f"the tokens file {path} belongs to user {facts.st_uid}: chown it to this user or to root")
    folder = path.resolve().parent.stat()
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise StartupError(f"the folder of the tokens file {path} may be written by everybody: chmod o-w it")
