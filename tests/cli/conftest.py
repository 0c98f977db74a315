"""The command line, called in this process (fast) or as a separate process (the real thing)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from kue.cli.root import run
from tests.support import ROOT, free_port


class Said(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def kue(redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """``kue(*words)`` on the empty test server, in this process."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.delenv("KUE_PREFIX", raising=False)

    def call(*words: object) -> Said:
        capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return call


def environment(redis_url: str, **more: str) -> dict[str, str]:
    names = ("HOST", "PORT", "KUE_PREFIX", "KUE_AUTH", "NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "REDIS_URL": redis_url, "PYTHONPATH": str(ROOT), **more}


@pytest.fixture
def start(redis_url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``start(*words, cwd=…)`` starts ``python -m kue``; what still runs after the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(*words: object, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "kue", *map(str, words)],
            env=environment(redis_url, **options.pop("env", {})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate(timeout=60)


@pytest.fixture
def command(start: Any) -> Callable[..., Said]:
    """``command(*words, text=…)`` runs ``python -m kue`` to its end."""

    def call(*words: object, text: str = "", **options: Any) -> Said:
        process = start(*words, **options)
        out, err = process.communicate(text, timeout=60)
        return Said(process.returncode, out, err)

    return call


@pytest.fixture
def port() -> int:
    return free_port()
