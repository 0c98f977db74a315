"""The text of the Lua scripts, and what importing the library brings with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from kue.states import HOLD_UNTIL_MS, TRANSITIONS
from kue.storage.script_loader import INCLUDE_DIR, LUA_DIR, scripts, source
from tests.support import ROOT

NAMES = sorted(scripts())


@pytest.mark.parametrize("name", NAMES)
def test_every_include_is_resolved_once(name: str) -> None:
    text = source(name)
    assert "@include" not in text
    assert text.count("local prefix, now = ") == 1
    functions = re.findall(r"^local function (\w+)", text, flags=re.MULTILINE)
    assert len(functions) == len(set(functions))


def test_every_part_is_included_by_some_script() -> None:
    included = {
        part
        for path in LUA_DIR.rglob("*.lua")
        for part in re.findall(r'^--- @include "([\w/]+)"$', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    files = {path.relative_to(INCLUDE_DIR).with_suffix("").as_posix() for path in INCLUDE_DIR.rglob("*.lua")}
    assert included == files


def test_every_script_has_a_name_of_its_own() -> None:
    files = [path for path in LUA_DIR.rglob("*.lua") if not path.is_relative_to(INCLUDE_DIR)]
    assert sorted(path.stem for path in files) == NAMES


def test_every_transition_names_a_script() -> None:
    assert {transition.script for transition in TRANSITIONS} <= set(NAMES)


def test_importing_the_library_brings_neither_flask_nor_eventlet() -> None:
    # Given a fresh interpreter
    code = "import json, sys, kue; print(json.dumps(sorted(sys.modules)))"
    # When it imports the library
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    # Then the web's packages are not there
    assert not {"flask", "flask_socketio", "eventlet"} & set(json.loads(answer.stdout))


def test_a_script_carries_no_function_that_it_does_not_call() -> None:
    for name in NAMES:
        text = source(name)
        for function in re.findall(r"^local function (\w+)", text, re.MULTILINE):
            assert len(re.findall(rf"\b{function}\b", text)) > 1, (name, function)
    assert "local function complete" not in source("fail")


def test_the_due_time_of_a_suspended_job_is_the_same_in_lua_and_python() -> None:
    assert f"local HOLD_UNTIL_MS = '{HOLD_UNTIL_MS}'" in source("suspend")
