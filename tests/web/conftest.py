"""An app over the test's queue, by Flask's and Socket.IO's test clients or on a real port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jinja2 import FileSystemBytecodeCache
from werkzeug.routing import Rule

from kue import web
from kue.concurrency import green
from kue.settings import Settings
from kue.web.server.thread_server import ThreadServer
from tests.support import free_port


@dataclass
class Site:
    """A running monitor."""

    app: Any
    socketio: Any
    queue: Any
    settings: Settings
    url: str

    @property
    def monitor(self) -> Any:
        return self.app.extensions["kue"]

    def http(self) -> Any:
        """Return a Flask test client that calls the site by its own name."""
        client = self.app.test_client()
        call = client.open

        def called_by_name(*args: Any, **options: Any) -> Any:
            options.setdefault("base_url", self.url)
            answer = call(*args, **options)
            answer.get_data()  # whoever asks reads on his own time; a file is not left open
            answer.close()
            return answer

        client.open = called_by_name
        return client


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """The compiled templates of all apps: each would compile them anew."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture(scope="session", autouse=True)
def url_builders() -> Iterator[None]:
    """Let the apps share what Werkzeug compiles for each URL rule. It is most of the time that making an app takes."""
    compiled: dict[tuple[object, ...], Any] = {}
    compile_builder: Callable[[Any, bool], Any] = Rule._compile_builder

    def compile_once(rule: Any, append_unknown: bool = True) -> Any:
        key = (rule.rule, tuple(rule._trace), repr(rule.defaults), append_unknown)
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", compile_once)
        yield


@pytest.fixture
def make_site(queue: Any, tmp_path: Path, templates: FileSystemBytecodeCache) -> Iterator[Callable[..., Site]]:
    """A factory of monitors: ``make_site(listen=True, KUE_AUTH="a:b")``.

    With ``listen`` it answers on its port; the system keeps ``send_buffer`` bytes of what a client does not read.
    Without ``downloads`` it is that of `kue dashboard`.
    """
    stops: list[Callable[[], None]] = []

    def make(listen: bool = False, downloads: bool = True, send_buffer: int = 0, **environ: str) -> Site:
        port = free_port()
        settings = Settings.load({"PORT": str(port), "DOWNLOAD_DIR": str(tmp_path / "downloads"), **environ})
        app, socketio = web.create_app(settings, queue, async_mode="threading", downloads=downloads)
        app.jinja_env.bytecode_cache = templates
        stops.append(lambda: web.close(app))
        if listen:
            sock = green.listen("127.0.0.1", port)
            if send_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)  # its connections inherit that
            server = ThreadServer(sock, app)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()
            stops.extend((sock.close, thread.join, server.stop))
        return Site(app, socketio, queue, settings, f"http://127.0.0.1:{port}")

    yield make
    for stop in reversed(stops):
        stop()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A monitor for test clients."""
    return make_site()
