"""The program of a child process: set up the parent's environment, then continue in ``main.py``.

Run by path: the parent's ``sys.path``, needed to find the library, arrives with the first message.
"""

import gc
import json
import os
import sys


def read_exactly(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.read(fd, count - len(data))
        if not part:  # the parent has ended
            os._exit(0)
        data += part
    return data


def main() -> None:
    gc.disable()  # until everything is imported, in ``child.py``
    for fd in (3, 4):
        os.set_inheritable(fd, False)
    setup = json.loads(read_exactly(3, int.from_bytes(read_exactly(3, 8), "big")))
    prepared = setup["target"]["preparation"]
    sys.path[:], sys.argv[:] = prepared["sys_path"], prepared["sys_argv"]
    if os.path.isdir(prepared.get("dir") or ""):
        os.chdir(prepared["dir"])
    from kue.worker.child_processes.child.main import run_child

    run_child(setup)


if __name__ == "__main__":
    main()
