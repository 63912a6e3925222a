"""The accepted bearer tokens: a file that is reread when it changes; if it is invalid, every call is refused.

Revoking must work even if done clumsily: if the file is emptied, deleted or damaged, every call is refused.
"""

from __future__ import annotations

import hmac
import logging
import os
import re
import stat
from pathlib import Path
from typing import Final

from scoreguard_handlers.errors import StartupError

logger = logging.getLogger(__name__)
_ROOT: Final = 0
_LARGEST_BYTES: Final = 1 << 20
_TOKEN: Final = re.compile(r"[!-~]+\Z")
"""Characters that metadata allows: anything else means a damaged file or a comment after a token."""
Stamp = tuple[int, ...]


class TokenFile:
    """The accepted tokens, reread when the file changes."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            StartupError: it cannot be read, holds no token, or is writable by others.
        """
        self._path = path
        self._stamp: Stamp = _stamp(path)
        self._tokens = _read(path)

    @property
    def is_closed(self) -> bool:
        """Whether every call is refused because the file is invalid."""
        return not self._current()

    def accepts(self, token: str) -> bool:
        """Whether the token is in the file; compared so that the time does not reveal how much of it is right."""
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
        """Load the file's current content; log one line for each change."""
        if stamp != self._stamp:
            self._stamp, self._tokens = stamp, tokens
            logger.log(logging.INFO if tokens else logging.ERROR, what)


def _stamp(path: Path) -> Stamp:
    """Return everything that changes when the file, its owner or its permissions do.

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
        # Reading a pipe would block all calls.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            _check_file(path, os.fstat(file.fileno()))
            _check_way(path, path)
            # Windows editors begin a text file with a byte order mark, which would become part of the first token.
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StartupError(f"the tokens file {path} is not text: {error.reason}") from error
    except OSError as error:
        raise StartupError(f"cannot read the tokens file {path}: {error.strerror}") from error
    return _tokens_in(path, text)


def _tokens_in(path: Path, text: str) -> tuple[bytes, ...]:
    tokens = []
    for number, line in enumerate(text.split("\n"), start=1):
        token = line.strip(" \t\r")
        if not token or token.startswith("#"):
            continue
        if not _TOKEN.match(token):
            raise StartupError(f"line {number} of the tokens file {path} is no token: printable ASCII, no spaces")
        tokens.append(token.encode())
    if not tokens:
        raise StartupError(f"the tokens file {path} holds no token; write one a line")
    return tuple(tokens)


def _check_file(path: Path, facts: os.stat_result) -> None:
    """Refuse a file that others may write: they could add their own token."""
    if not stat.S_ISREG(facts.st_mode):
        raise StartupError(f"the tokens file {path} is not a regular file")
    if facts.st_size > _LARGEST_BYTES:
        raise StartupError(f"the tokens file {path} has {facts.st_size} bytes: the limit is {_LARGEST_BYTES}")
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StartupError(f"the tokens file {path} may be written by others: chmod go-w it")
    if facts.st_uid not in {_ROOT, os.geteuid()}:
        raise StartupError(f"the tokens file {path} belongs to user {facts.st_uid}: chown it to this user or to root")


def _check_way(path: Path, tokens: Path) -> None:
    """Refuse a path that others may change: by a link or a folder on the way, they could choose the file.

    Links are followed one by one: the folder that contains a link counts, as well as the one that it leads to.
    """
    for place in (way := path.absolute(), *way.parents):
        facts = place.lstat()
        if stat.S_ISLNK(facts.st_mode):
            if facts.st_uid not in {_ROOT, os.geteuid()}:
                raise StartupError(f"{place}, on the way to the tokens file {tokens}, is a link of user {facts.st_uid}")
            _check_way(place.parent / place.readlink(), tokens)
        elif place != way and facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX:
            where = f"{place}, on the way to the tokens file {tokens},"
            raise StartupError(f"{where} may be written by everybody: chmod o-w it")
