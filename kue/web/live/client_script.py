"""`/socket.io/socket.io.js`: the page's Socket.IO client as a classic script, for pages written for a Node server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

PATHS = frozenset({"/socket.io/socket.io.js", "/socket.io/socket.io.min.js"})


#: If the script is loaded from below a path, the client connects to the server there, too.
_OWN_PATH = """\
const own = globalThis.document?.currentScript?.src;
const folder = own && /^(.*\\/socket\\.io\\/)socket\\.io(\\.min)?\\.js$/.exec(new URL(own).pathname)?.[1];
if (folder) io.defaultPath = folder;
"""

_IMPORT = re.compile(r'^import \{ [\w, ]+ \} from "\./(\w+\.js)";\n', re.MULTILINE)


def classic(folder: Path, name: str) -> str:
    """Return an ES module and its imports as a classic script with one global, ``io``.

    Each file is included once, before those that import it. Raises ValueError for forms of import and export that
    cannot simply be removed.
    """
    parts: dict[str, str] = {}

    def read(name: str) -> None:
        source = (folder / name).read_text(encoding="utf-8")
        for imported in _IMPORT.findall(source):
            if imported not in parts:
                read(imported)
        body = re.sub(r"^export (?=(class|function|const|let)\b)", "", _IMPORT.sub("", source), flags=re.MULTILINE)
        if re.search(r"^(import|export)\b", body, flags=re.MULTILINE):
            raise ValueError(f'{name}: import as `import {{ a }} from "./b.js";`, and export declarations only')
        parts[name] = body

    read(name)
    return f'(function () {{\n"use strict";\n{"".join(parts.values())}\n{_OWN_PATH}globalThis.io = io;\n}})();\n'


def install(app: Flask, flask_wsgi: Callable[..., Iterable[bytes]]) -> None:
    """Serve the script. Socket.IO's middleware handles every path under /socket.io/, so this bypasses it."""
    body = classic(Path(app.static_folder or "") / "js/live", "socket.js")
    etag = hashlib.sha256(body.encode()).hexdigest()[:20]
    behind = app.wsgi_app

    def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        inner = flask_wsgi if environ.get("PATH_INFO") in PATHS else behind
        return inner(environ, start_response)

    def client_script() -> ResponseReturnValue:
        response = Response(body, mimetype="text/javascript", headers={"Cache-Control": "no-cache"})
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.set_etag(etag)
        return response.make_conditional(request)

    app.wsgi_app = around  # type: ignore[method-assign]
    for number, path in enumerate(sorted(PATHS)):
        app.add_url_rule(path, f"client_script_{number}", client_script)
