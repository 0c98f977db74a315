"""Clients that are not our page: the official Socket.IO client, and a page written for a Node server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import both_ways
from tests.support import NODE_DIR, require_node, wait_until

HERE = Path(__file__).parent

#: A page as the tutorials for a Node server have it: nothing in it knows about this project.
DEMO = """<!doctype html><html><body>
<h1>Jobs</h1><button id="button_start">Start</button><ul id="list"></ul>
<script src="/jquery.js"></script>
<script src="/socket.io/socket.io.js"></script>
<script>
  var socket = io();
  var older = io.connect(location.origin, {'reconnection': true, forceNew: true});
  var seen = [];
  older.on('complete', function (data) { seen.push(data.id); });
  $('#button_start').click(function () {
    socket.emit('start', {type: 'download', url: location.origin + '/sample/10mb.bin'}, function (answer) {
      $('body').attr('data-answer', answer.id);
    });
  });
  socket.on('start', function (data) {
    $('#list').append('<li><a>' + data.id + '</a> <span id="log_' + data.id + '" class="span_log">Running</span></li>');
  });
  socket.on('complete', function (data) { $('#log_' + data.id).html('Completed'); });
  socket.on('connect', function () { $('body').attr('data-id', socket.id); });
</script></body></html>"""


@both_ways
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_official_clients_get_each_start_and_complete_once(make_program: Callable[..., Any], transport: str) -> None:
    node = require_node("socket.io-client")
    program = make_program(KUE_CONCURRENCY="5")
    command = [node, str(HERE / "official_client.js"), str(NODE_DIR / "node_modules"), program.url, "20", transport]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    told = json.loads(result.stdout or "{}")
    assert result.returncode == 0, result.stdout + result.stderr
    ids = sorted(answer["id"] for answer in told["answers"])
    assert len(set(ids)) == 20
    for heard in told["heard"]:
        for name in ("start", "complete"):
            assert sorted(data["id"] for event, data in heard if event == name) == ids
    assert [(number, data["code"]) for number, data in told["errors"]] == [(0, "bad_url")]
    assert told["long"]["code"] == "bad_url" and told["connected"] == [True, True]


def test_a_page_written_for_a_node_server_works_unchanged(monitor: Any, open_page: Callable[..., Any]) -> None:
    jquery = NODE_DIR / "node_modules" / "jquery" / "dist" / "jquery.min.js"
    require_node("jquery")
    page = open_page(f"{monitor.url}/healthz")
    page.route("**/demo.html", lambda route: route.fulfill(body=DEMO, content_type="text/html"))
    page.route("**/jquery.js", lambda route: route.fulfill(path=jquery, content_type="text/javascript"))
    page.goto(f"{monitor.url}/demo.html")
    page.wait_for_selector("body[data-id]")
    page.click("#button_start")
    page.wait_for_selector("#log_1:text-is('Running')")
    page.wait_for_selector("#log_1:text-is('Completed')")
    assert page.get_attribute("body", "data-answer") == "1"
    wait_until(lambda: page.evaluate("seen") == [1])
