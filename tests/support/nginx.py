"""A real nginx on a loopback port, in a folder of its own."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from tests.support import require_program, wait_until

_FRAME = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {servers}
}}
"""


class Nginx:
    """Runs within ``with Nginx(folder, servers, port)``; ``servers`` is what stands in its block ``http``."""

    def __init__(self, folder: Path, servers: str, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, port
        (folder / "nginx.conf").write_text(_FRAME.format(folder=folder, servers=servers))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        nginx = require_program("nginx")
        self.process = subprocess.Popen(
            [nginx, "-e", str(self.folder / "error.log"), "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]
        )
        wait_until(self._listens, 10, message=f"nginx listens; see {self.folder}/error.log")
        return self

    def _listens(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.folder / "error.log").read_text()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *error: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(10)
