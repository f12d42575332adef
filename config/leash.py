"""`python -m config.leash MODULE [ARGUMENT...]`: runs a module that ends when its standard input does.

Whoever starts it holds the other end of the pipe, so the module ends with its parent however the parent went, SIGKILL
among the ways. A thread that waits for a byte costs nothing, and works wherever there are pipes.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_S = 10  # between asking the module to end, and ending it


def main() -> None:
    _, module, *arguments = sys.argv
    threading.Thread(target=_watch, args=(os.dup(0),), daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _watch(pipe: int) -> None:
    while os.read(pipe, 1):  # nobody writes
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    main()
