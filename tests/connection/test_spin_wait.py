"""When a call spins for its reply instead of sleeping."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from kue.connection import spin_wait
from tests.support import ROOT
from tests.support.programs import environment

FOREVER_S = 1e9


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


@pytest.fixture
def in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spin_wait, "RUN_S", FOREVER_S)


def answer_soon(theirs: socket.socket) -> threading.Timer:
    timer = threading.Timer(0.05, theirs.sendall, [b"x"])
    timer.start()
    return timer


@pytest.mark.usefixtures("in_a_run")
def test_in_a_run_it_looks_until_the_answer_is_there(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    monkeypatch.setattr(spin_wait, "SPIN_S", FOREVER_S)
    waits = spin_wait.SpinWait()
    for _ in range(3):
        timer = answer_soon(theirs)
        waits.wait(ours.fileno())
        assert ours.recv(1) == b"x"
        timer.join()


def test_a_single_call_does_not_look(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spin_wait, "RUN_S", -1.0)
    monkeypatch.setattr(spin_wait, "SPIN_S", FOREVER_S)  # if it looked, it would not come back
    spin_wait.SpinWait().wait(pair[0].fileno())


@pytest.mark.usefixtures("in_a_run")
def test_where_answers_come_late_it_looks_ever_more_seldom(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    waits = spin_wait.SpinWait()
    for asleep in (spin_wait.SKIP_FIRST, spin_wait.SKIP_FIRST * 2):
        monkeypatch.setattr(spin_wait, "SPIN_S", 0.0)
        waits.wait(ours.fileno())  # in vain
        monkeypatch.setattr(spin_wait, "SPIN_S", FOREVER_S)
        for _ in range(asleep):
            waits.wait(ours.fileno())  # comes back, so it does not look
    timer = answer_soon(theirs)
    waits.wait(ours.fileno())
    assert ours.recv(1) == b"x"
    timer.join()


@pytest.mark.usefixtures("in_a_run")
def test_another_connection_is_checked_after_the_first(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spin_wait, "SPIN_S", FOREVER_S)
    waits, (ours, theirs) = spin_wait.SpinWait(), pair
    theirs.sendall(b"x")
    waits.wait(ours.fileno())  # stays readable
    other, its_peer = socket.socketpair()
    with other, its_peer:
        other.setblocking(False)
        timer = answer_soon(its_peer)
        waits.wait(other.fileno())
        assert other.recv(1) == b"x"
        timer.join()


GREEN = """
import warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
import socket, sys
from kue.connection import spin_wait
spin_wait.RUN_S = spin_wait.SPIN_S = 1e9
waits = spin_wait.SpinWait()
ours, theirs = socket.socketpair()
order = []
if sys.argv[1] == "timer":
    eventlet.spawn(order.append, "other")
else:
    mine, its_peer = socket.socketpair()
    eventlet.spawn(lambda: order.append(mine.recv(1)))
    eventlet.sleep(0)
    its_peer.send(b"y")
waits.wait(ours.fileno())
order.append("back")
eventlet.sleep(0)
theirs.send(b"x")
waits.wait(ours.fileno())
print(order, ours.recv(1))
"""


@pytest.mark.parametrize(("what", "other"), [("timer", "'other'"), ("socket", "b'y'")])
def test_it_does_not_look_while_another_green_thread_has_something_to_do(what: str, other: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GREEN, what], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert done.stdout.strip() == f"['back', {other}] b'x'"
