"""`python -m tendon ...` is the `tendon` command."""

from __future__ import annotations

import signal
import sys

from . import _core


def main() -> int:
    # Python only notes Ctrl-C until its own code runs again; the command must end at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _core.run_command(["tendon", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
