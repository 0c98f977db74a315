"""Under eventlet: other green threads go on while a download runs at full speed, and memory stays flat."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.downloads.hostile import HostileServer, Request, Wire, content
from tests.support import ROOT

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
import json, resource, threading, time
sys.path.insert(0, sys.argv[1])
from kue.downloads import DownloadHandler
from tests.downloads.hostile import FakeJob
worst, stop = [0.0], []
def pulse():
    last = time.monotonic()
    while not stop:
        time.sleep(0.001)
        now = time.monotonic()
        worst[0] = max(worst[0], now - last)
        last = now
handler = DownloadHandler(sys.argv[2], allow=["127.0.0.1"], min_free=0)
handler(FakeJob(sys.argv[3], 1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
thread = threading.Thread(target=pulse)
thread.start()
result = handler(FakeJob(sys.argv[4], 2))
stop.append(1)
thread.join()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"bytes": result["bytes"], "worst_s": worst[0], "grown_kib": grown}))
"""


def test_the_hub_stays_alive_and_memory_flat(folder: Path) -> None:
    block, count = content(1 << 20), 300

    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Content-Length": 10 if request.path == "/small" else count << 20})
        for _ in range(0 if request.path == "/small" else count):
            wire.send(block)
        wire.send(bytes(10))

    with HostileServer(script) as server:
        command = [sys.executable, "-c", PROGRAM, str(ROOT), str(folder), server.url("/small"), server.url("/big")]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True)
    told = json.loads(done.stdout)
    assert told["bytes"] == count << 20
    assert told["grown_kib"] < 20_000
    # Far more than it takes on a quiet machine, far less than a starved hub.
    assert told["worst_s"] < 0.25
