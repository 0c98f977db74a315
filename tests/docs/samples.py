"""Code samples of the documentation, found in its pages and run as a reader would run them.

A page's samples run from top to bottom, in one empty folder, against one Valkey:

- ``python`` is executed; all such blocks of a page share their names. With a ``title`` it is a file that is written.
- ``console`` has commands behind ``$`` and what they print. ``...`` stands for any lines, ``…`` for the rest of a line.
- ``text``, ``yaml`` and others with a ``title`` are files, too. What can be parsed is parsed.

A comment before a block changes that: ``<!-- sample: compile -->`` for code of other libraries, ``background`` for
a program that runs until the page ends or ``stop`` ends it, ``skip: WHY`` for commands that change the machine.
"""

from __future__ import annotations

import ast
import configparser
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.support import wait_until

LANGUAGES = {"python", "console", "text", "yaml", "ini", "toml", "json", "javascript", "sh", "html", "nginx", "apache"}
FENCE = re.compile(
    r"(?:^<!-- sample: (?P<how>[^\n]*?) -->\n\n?)?^```(?P<language>\w*)(?P<rest>[^\n]*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: What differs from run to run, and its stand-in.
VARYING = (
    (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "<time>"),
    (r"\b\d\d:\d\d:\d\d(,\d+)?\b", "<clock>"),
    (r"\b\d+(\.\d+)?\s?(ms|s|min)\b", "<duration>"),
    (r"kue:[\w.-]+:\d+(\.\w+)?", "<worker>"),
    (r"\bpid \d+", "pid <n>"),
    (r"127\.0\.0\.1:\d+", "<address>"),
    (r"[ \t]+", " "),
)
#: Seconds that a program may take to print what the page shows.
LIMIT_S = 30.0


@dataclass(frozen=True)
class Sample:
    """One fenced block: ``how`` is the comment before it, ``line`` where it begins."""

    language: str
    body: str
    title: str
    how: str
    line: int


def samples_of(page: Path) -> list[Sample]:
    """Return the blocks of a page in their order."""
    text = page.read_text("utf-8")
    found = []
    for match in FENCE.finditer(text):
        title = re.search(r'title="([^"]*)"', match["rest"])
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Sample(match["language"], match["body"], title[1] if title else "", match["how"] or "", line))
    return found


def normal(line: str) -> str:
    """Return a line of output without what differs from run to run."""
    for pattern, stand_in in VARYING:
        line = re.sub(pattern, stand_in, line)
    return line.strip()


def same_output(shown: str, printed: str) -> bool:
    """Tell whether a program printed what a page shows."""
    pattern = ""
    for line in shown.splitlines():
        if not normal(line):
            continue
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(normal(line)).replace("…", ".*") + "\n"
    text = "".join(f"{normal(line)}\n" for line in printed.splitlines() if normal(line))
    return re.fullmatch(pattern, text) is not None


def commands_of(body: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, with the output shown below it."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = f"{command[:-1]}{more.removeprefix('>').strip()}"
        yield command, output


class Background:
    """A program that goes on while the page does."""

    def __init__(self, command: str, folder: Path, environ: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, env=environ, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(normal(line))

    def printed(self, shown: str) -> None:
        """Wait until all lines have been printed, in this order."""
        wanted = [normal(line) for line in shown.splitlines() if normal(line) and line.strip() not in ("...", "^C")]
        patterns = [re.compile(re.escape(line).replace("…", ".*")) for line in wanted]

        def all_there() -> bool:
            at = 0
            for line in list(self.lines):
                if at < len(patterns) and patterns[at].fullmatch(line):
                    at += 1
            return at == len(patterns)

        try:
            wait_until(all_there, LIMIT_S)
        except AssertionError:
            raise AssertionError(f"shown: {wanted}\nprinted: {self.lines}") from None

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Page:
    """Runs the samples of one page in a folder, with the programs in ``bin_folder`` in front of all others."""

    def __init__(self, page: Path, folder: Path, environ: dict[str, str], bin_folder: Path) -> None:
        self.page, self.folder = page, folder
        self.environ = {**environ, "PATH": f"{bin_folder}{os.pathsep}{environ['PATH']}"}
        self.names: dict[str, Any] = {"__name__": "sample"}
        self.background: list[Background] = []
        self.ran = 0

    def run(self) -> None:
        before = dict(sys.modules)
        sys.path.insert(0, str(self.folder))
        try:
            with contextlib.chdir(self.folder):
                for sample in samples_of(self.page):
                    try:
                        self._run(sample)
                    except BaseException as exc:
                        exc.add_note(f"in the sample at {self.page.name}:{sample.line}")
                        raise
        finally:
            sys.path.remove(str(self.folder))
            imported = {
                name: module
                for name, module in sys.modules.items()
                if name not in before and (getattr(module, "__file__", None) or "").startswith(str(self.folder))
            }
            self._end(imported.values())
            for name in imported:
                del sys.modules[name]

    def _end(self, modules: Iterable[ModuleType]) -> None:
        import flask

        import kue
        from kue.web.mount.gate import Gate

        for program in self.background:
            program.stop()
        holders = [self.names, *(vars(module) for module in modules)]
        values = [value for holder in holders for value in holder.values()]
        for app in values:
            if isinstance(app, flask.Flask) and isinstance(app.wsgi_app, Gate):
                app.wsgi_app.close()
        for queue in {value for value in values if isinstance(value, kue.Queue)}:
            queue.shutdown(2)

    def _run(self, sample: Sample) -> None:
        assert sample.language in LANGUAGES, f"write what the block holds: {sample.language!r}"
        if sample.how.startswith("skip: "):
            return
        if sample.language == "console":
            self._run_console(sample)
        elif sample.language == "python" and not sample.title and sample.how != "compile":
            code = compile(ast.parse("\n" * sample.line + sample.body), str(self.page), "exec")
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), ThreadPoolExecutor(1) as thread:
                thread.submit(exec, code, self.names).result()  # Playwright may hold an event loop in this one
            self._printed = printed.getvalue()
        elif sample.language == "text" and sample.title == "Output":
            assert same_output(sample.body, self._printed), f"printed: {self._printed}"
        else:
            check_syntax(sample)
            if sample.title and sample.how != "compile":
                path = self.folder / sample.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(sample.body)
        self.ran += 1

    def _run_console(self, sample: Sample) -> None:
        for command, shown in commands_of(sample.body):
            if setting := re.fullmatch(r"export (\w+)=(\S+)", command):
                self.environ[setting[1]] = setting[2]
                continue
            if sample.how == "background":
                program = Background(command, self.folder, self.environ)
                self.background.append(program)
                program.printed(shown)
                continue
            if sample.how == "stop":
                self.background[-1].stop()
                self.background[-1].printed(shown)
                continue
            done = subprocess.run(
                ["bash", "-c", command], cwd=self.folder, env=self.environ, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S * 2,
            )  # fmt: skip
            if not shown.strip() and done.returncode != 0:
                raise AssertionError(f"$ {command}\n{done.stdout}")
            assert same_output(shown, done.stdout), f"$ {command}\nprinted:\n{done.stdout}\nshown:\n{shown}"


def check_syntax(sample: Sample) -> None:
    """Parse a block that is not run."""
    if sample.language == "python":
        ast.parse(sample.body)
    elif sample.language == "json":
        json.loads(sample.body)
    elif sample.language == "toml":
        tomllib.loads(sample.body)
    elif sample.language == "yaml":
        import yaml

        assert yaml.safe_load(sample.body) is not None
    elif sample.language == "ini":
        configparser.ConfigParser(strict=False, interpolation=None).read_string(sample.body)
    elif sample.language == "sh":
        subprocess.run(["bash", "-n", "-c", sample.body], check=True, timeout=LIMIT_S)
    elif sample.language == "javascript" and (node := shutil.which("node")):
        script = f"async (socket, queue, kue) => {{ {sample.body} }}"
        subprocess.run([node, "--check", "-"], input=script, text=True, check=True, timeout=LIMIT_S)


def wrappers(folder: Path, python: str = sys.executable) -> Path:
    """Make a folder with ``python``, ``kue`` and ``pytest``, which run this checkout; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in (("python", ""), ("kue", "-m kue"), ("pytest", "-m pytest -p no:cacheprovider")):
        path = folder / name
        path.write_text(
            "#!/bin/sh\nexport PYTEST_DISABLE_PLUGIN_AUTOLOAD=1  # those of this checkout take a second to import\n"
            f'exec {shlex.quote(python)} {words} "$@"\n'
        )
        path.chmod(0o755)
    return folder

