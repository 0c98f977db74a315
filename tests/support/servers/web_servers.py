"""Real web servers on loopback ports, each in a folder of its own: nginx, Caddy, Apache."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

from tests.support import require_program, wait_until

_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {sites}
}}
"""
_CADDY = """{{
    admin off
    auto_https off
    skip_install_trust
    storage file_system {folder}/data
}}
{sites}
"""
_APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/pid
ErrorLog {folder}/error.log
DefaultRuntimeDir {folder}
Mutex file:{folder}
StartServers 1
User nobody
Group nogroup
{modules}
{sites}
"""
#: What Debian's Apache has loaded before `a2enmod`, as far as it matters to a proxy.
_APACHE_MODULES = ("mpm_event", "authz_core", "alias")


class WebServer:
    """Runs within ``with Nginx(folder, sites, *ports)``; ``sites`` is the part that a guide shows."""

    def __init__(self, folder: Path, sites: str, *ports: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ports, self.sites = folder, ports, sites
        self.log = folder / "error.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Write the configuration; return the command that starts the server in the foreground."""
        raise NotImplementedError

    def __enter__(self) -> WebServer:
        command = self.command()
        environ = {**os.environ, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        with (self.folder / "output.log").open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environ)
        try:
            wait_until(self._listens, 10, message=f"{command[0]} listens; see {self.folder}/*.log")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _listens(self) -> bool:
        assert self.process is not None and self.process.poll() is None, "\n".join(
            each.read_text() for each in self.folder.glob("*.log")
        )
        for port in self.ports:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def __exit__(self, *error: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(20)


class Nginx(WebServer):
    """``sites`` is what stands in its block ``http``."""

    def command(self) -> list[str]:
        nginx, path = require_program("nginx"), self.folder / "nginx.conf"
        path.write_text(_NGINX.format(folder=self.folder, sites=self.sites))
        return [nginx, "-e", str(self.log), "-c", str(path), "-p", str(self.folder)]


class Caddy(WebServer):
    """``sites`` are the site blocks of a Caddyfile."""

    def command(self) -> list[str]:
        caddy, path = require_program("caddy"), self.folder / "Caddyfile"
        path.write_text(_CADDY.format(folder=self.folder, sites=self.sites))
        return [caddy, "run", "--config", str(path), "--adapter", "caddyfile"]


class Apache(WebServer):
    """``sites`` are virtual hosts. A line ``a2enmod NAME…`` in front of them loads modules, as on Debian."""

    def command(self) -> list[str]:
        apache, path = require_program("apache2"), self.folder / "apache.conf"
        enabled = " ".join(re.findall(r"^a2enmod (.*)$", self.sites, re.MULTILINE)).split()
        modules = "\n".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
            for name in dict.fromkeys((*_APACHE_MODULES, *enabled))
        )
        sites = re.sub(r"^a2enmod .*$", "", self.sites, flags=re.MULTILINE)
        path.write_text(_APACHE.format(folder=self.folder, modules=modules, sites=sites))
        return [apache, "-D", "FOREGROUND", "-f", str(path)]
