"""Frames that wait for one WebSocket go out together, whole and in order. With green threads, over a real socket."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support import ROOT

PROGRAM = """
import warnings
warnings.filterwarnings("ignore")
import eventlet
eventlet.monkey_patch()
import json, socket
from eventlet.websocket import RFC6455WebSocket
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from kue.web.live.frame_writer import BUFFER_MAX, FrameWriter


class Counted:
    def __init__(self, sock):
        self.sock, self.writes = sock, []

    def sendall(self, data):
        self.writes.append(len(data))
        self.sock.sendall(data)

    def __getattr__(self, name):
        return getattr(self.sock, name)


def pair():
    ours, theirs = socket.socketpair()
    counted = Counted(ours)
    return counted, theirs, FrameWriter(RFC6455WebSocket(counted, {}, extensions={}))


def read(theirs):
    reader, got, text = Connection(ConnectionType.CLIENT), [], ""
    theirs.settimeout(10)
    while True:
        reader.receive_data(theirs.recv(1 << 16) or None)
        for event in reader.events():
            if isinstance(event, CloseConnection):
                return got
            text += event.data if isinstance(event, TextMessage) else event.data.decode()
            if event.message_finished:
                got.append(text)
                text = ""


messages = [f"4{n}" for n in range(500)] + ["x" * n for n in (0, 125, 126, 65535, 65536, 200_000)] + ["äöü€", "last"]
counted, theirs, writer = pair()
reading = eventlet.spawn(read, theirs)
for message in messages:
    writer.send(message)
small = len(counted.writes)
writer.send(b"binary")
writer.close()
answer = {"same": reading.wait() == [*messages, "binary"], "small": small, "writes": len(counted.writes)}

counted, theirs, writer = pair()  # one that does not read: its sender waits, and an error reaches the sender
sent = 0
def flood():
    global sent
    while True:
        writer.send("y" * 1000)
        sent += 1
flooding = eventlet.spawn(flood)
eventlet.sleep(0.2)
answer["sent"], answer["waiting"] = sent, writer._size
eventlet.sleep(0.1)
answer["blocks"] = sent == answer["sent"]
theirs.close()
try:
    flooding.wait()
except OSError as exc:
    answer["error"] = type(exc).__name__
print(json.dumps({**answer, "most": BUFFER_MAX}))
"""


def test_frames_are_written_together_and_a_slow_client_holds_its_sender_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"]
    # Then only what fills the buffer is written before the sender's turn is over
    assert found["small"] <= 4 and found["writes"] <= found["small"] + 4
    assert found["blocks"] and found["waiting"] <= found["most"] and found["sent"] < 10_000
    assert found["error"] in ("BrokenPipeError", "ConnectionResetError")
