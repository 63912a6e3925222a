"""Run a command that must not outlive the process that started it: `python child_guard.py PARENT COMMAND...`.

On Linux the kernel kills the command when its parent dies, even by SIGKILL; elsewhere the command just runs. It is
started as a file, before any of our packages can be imported.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def main() -> None:
    """Request the signal, check that the parent is still alive, then exec the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
