"""Compare this downloader with curl, wget, aria2c and requests: ``python -m tests.downloads.peers [WORD]``.

Prints the cases in which two of the others get the file and this program does not, and exits with 1 if there are any.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from tests.downloads.hostile import HostileServer

from . import ALL, Case
from .programs import PROGRAMS, Outcome, by_kue, fetch_with


def outcomes(case: Case) -> dict[str, Outcome]:
    """Return what each program gets, each from a server of its own: a script may count its requests."""
    found: dict[str, Outcome] = {}
    for name, program in [*PROGRAMS.items(), ("kue", by_kue)]:
        with HostileServer(case.script) as server:
            found[name] = fetch_with(program, case.url(f"http://127.0.0.1:{server.port}"))
    return found


def main() -> int:
    """Run all cases, or those whose name holds a word."""
    cases = [case for case in ALL if all(word in case.name for word in sys.argv[1:])]
    behind = on_purpose = 0
    with ThreadPoolExecutor(4) as pool:
        for case, found in zip(cases, pool.map(outcomes, cases), strict=True):
            ours = found.pop("kue")
            right = [name for name, outcome in found.items() if case.file is not None and outcome in case.files]
            if case.file is None or case.refused:
                fails = isinstance(ours, bytes)
            else:
                fails = ours not in case.files
            is_behind = fails and len(right) >= 2
            behind += is_behind
            on_purpose += bool(case.refused and len(right) >= 2)
            if fails or (case.refused and right):
                said = ours if isinstance(ours, str) else f"{len(ours)} bytes"
                note = "BEHIND" if is_behind else "wrong" if fails else f"refused: {case.refused}"
                print(f"{case.name} | {', '.join(right) or 'nobody'} | {note} | {said}")
    print(f"{len(cases)} cases. Those in which two of the others get the file and this program does not: {behind},")
    print(f"and {on_purpose} on purpose.")
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
