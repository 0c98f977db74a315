"""Whether a process takes jobs: not before it is ready, and not while a suspect runs alone."""

from __future__ import annotations

from typing import Any

from kue.worker.gate import Gate


def test_a_program_that_gets_ready_does_not_open_the_gate_that_a_suspect_has_closed() -> None:
    gate, suspect, other = Gate(), object(), object()
    first: Any = suspect
    second: Any = other
    gate.hold()
    gate.suspects |= {first, second}
    assert gate.take_turn(first) and not gate.take_turn(second)
    gate.release()
    assert gate.is_closed
    gate.leave(first)
    assert gate.is_closed and gate.take_turn(second)
    gate.leave(second)
    assert not gate.is_closed
