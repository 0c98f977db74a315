"""DNS lookups in a process patched by eventlet without its own resolver."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support import ROOT
from tests.support.programs import environment

PROGRAM = """
import os, sys, warnings
warnings.simplefilter("ignore")
os.environ["EVENTLET_NO_GREENDNS"] = "yes"
import eventlet
eventlet.monkey_patch()
import json, socket, time
from kue.concurrency import green, real_threads
system = green.original("socket")
real = system.getaddrinfo
threads = []
def slow(host, *args, **options):
    threads.append(green.original("threading").get_ident())
    green.original("time").sleep(0.5)
    return real("127.0.0.1", *args, **options)
system.getaddrinfo = slow
real_threads.look_names_up_aside()
beats = []
def beat():
    while True:
        beats.append(time.monotonic())
        time.sleep(0.01)
eventlet.spawn(beat)
server = socket.create_server(("127.0.0.1", 0))
with socket.create_connection(("name.example", server.getsockname()[1])) as connected:
    peer = connected.getpeername()[0]
here = green.original("threading").get_ident()
system.getaddrinfo = real
try:
    socket.gethostbyname("no-such-name.invalid")
    error = None
except OSError as exc:
    error = type(exc).__name__
print(json.dumps({"peer": peer, "aside": threads != [] and here not in threads, "beats": len(beats),
                  "error": error, "dns": "dns" in sys.modules, "address": socket.gethostbyname("127.0.0.1")}))
"""


def test_a_slow_look_up_holds_up_no_green_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, timeout=60
    )
    told = json.loads(done.stdout)
    assert told["peer"] == told["address"] == "127.0.0.1" and told["error"] == "gaierror"
    # The look-up takes half a second; the beats go on meanwhile.
    assert told["aside"] and told["beats"] > 5
    assert not told["dns"]
