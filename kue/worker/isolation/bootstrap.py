"""The program of a child process: become like the parent, and go on in ``child.py``.

Run by its path, since the parent's ``sys.path``, by which it finds the library, comes with the first message.
"""

import json
import os
import sys


def read_exactly(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.read(fd, count - len(data))
        if not part:  # the parent is gone
            os._exit(0)
        data += part
    return data


def main() -> None:
    for fd in (3, 4):
        os.set_inheritable(fd, False)
    setup = json.loads(read_exactly(3, int.from_bytes(read_exactly(3, 8), "big")))
    prepared = setup["target"]["preparation"]
    sys.path[:], sys.argv[:] = prepared["sys_path"], prepared["sys_argv"]
    if os.path.isdir(prepared.get("dir") or ""):
        os.chdir(prepared["dir"])
    from kue.worker.isolation.child import run_child

    run_child(setup)


if __name__ == "__main__":
    main()
