"""``kue download``: the downloader without a page, a worker or Redis."""

from __future__ import annotations

import codecs
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, BinaryIO

import click

from ....config.parsers import hosts, size_bytes
from ....downloads import (
    DownloadError,
    DownloadFailed,
    DownloadHandler,
    DownloadPostponed,
    DownloadRequest,
    InvalidRequest,
)
from ....downloads.addresses.urls import split_url
from ....downloads.errors import DiskFull
from ....downloads.files.filenames import choose_name
from ....downloads.messages import duration, size
from ....downloads.url_list import ListedUrl, read_urls
from ....text.redaction import safe_text
from ...download_board import Board
from ...options import json_option
from ...output import cut, plain, print_json

#: Longest wait between two attempts, unless the server asks for a longer one, seconds.
MAX_WAIT_S = 60.0
#: No limit of a file's size.
UNLIMITED = 1 << 62
#: Remedies in download errors for operators, and this command's options instead.
OPTION_OF = {
    "An operator can allow it with DOWNLOAD_ALLOW": "Allow it with --allow",
    "An operator can raise DOWNLOAD_MAX_BYTES": "Raise it with --max-size",
    "An operator can add the missing certificate to the file in DOWNLOAD_CA_BUNDLE": "Add the missing certificate with "
    "--ca-bundle",
    "Set DOWNLOAD_CLIENT_CERT": "Give it with --client-cert",
    "Check DOWNLOAD_CLIENT_CERT": "Check --client-cert",
}


class Interrupted(BaseException):
    """Ctrl-C, raised in each running download."""


class Refused(click.ClickException):
    """An invalid URL or option."""

    exit_code = 2

    def __init__(self, error: str) -> None:
        super().__init__(with_options(error))


def with_options(error: str) -> str:
    """Return the error of a download with the options of this command instead of an operator's settings."""
    for setting, option in OPTION_OF.items():
        error = error.replace(setting, option)
    return error


class CommandJob:
    """The job interface for the downloader. A repeated command has the same partial file, and resumes."""

    id = "download"

    def __init__(self, number: int, data: dict[str, Any], board: Board, stop: threading.Event, verbose: bool) -> None:
        #: What tells partial files of one URL apart: the name that -o gives.
        self.created_at = data.get("filename")
        self.number, self.data, self._board, self._stop, self._verbose = number, data, board, stop, verbose
        self.name = safe_text(data["url"])
        #: What its line on a terminal begins with: the file name, as far as it is known before the response.
        self.label = data.get("filename") or choose_name(None, None, str(split_url(data["url"], ["*"])))

    def log(self, message: str, *args: object) -> None:
        """Print a line with -v."""
        if self._verbose:
            self._board.say(f"{self.name}: {message % args if args else message}")

    def progress(self, complete: int, total: int, data: Any = None) -> None:
        """Show progress, and stop after Ctrl-C."""
        if self._stop.is_set():
            raise Interrupted
        self._board.show(self.number, self.label, data)

    def sleep(self, seconds: float) -> None:
        """Wait for the next attempt."""
        if self._stop.wait(seconds):
            raise Interrupted


def _size(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else size_bytes(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


@click.command(short_help="Download files, without a server.")
@click.argument("urls", nargs=-1, metavar="URL…")
@click.option(
    "-i",
    "--input",
    "input_file",
    type=click.File("rb"),
    metavar="FILE",
    help="Read URLs from a file, one per line; - is standard input.",
)
@click.option("-o", "--output", metavar="PATH", help="File name (for one URL), or an existing directory.")
@click.option("-j", "--jobs", default=4, show_default=True, type=click.IntRange(1, 100), help="Concurrent downloads.")
@click.option("-s", "--segments", type=click.IntRange(1, 16), help="Connections per file.")
@click.option("-n", "--attempts", default=5, show_default=True, type=click.IntRange(1, 1000), help="Attempts per file.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A request header; repeatable.")
@click.option("-b", "--cookies", metavar="'A=B; C=D'", help="Cookies.")
@click.option("-e", "--referer", metavar="URL", help="The Referer header.")
@click.option("-A", "--user-agent", metavar="TEXT", help="The User-Agent header.")
@click.option("-x", "--proxy", metavar="URL", envvar="DOWNLOAD_PROXY", help="http, https, socks5 or socks5h proxy.")
@click.option("--sha256", metavar="HEX", help="Expected digest (for one URL).")
@click.option("--rate", metavar="SIZE", callback=_size, help="Bytes per second in total, such as 5M.")
@click.option("--max-size", metavar="SIZE", callback=_size, help="Largest file, such as 2G.")
@click.option(
    "--allow",
    metavar="LIST",
    default="",
    envvar="DOWNLOAD_ALLOW",
    help="Private hosts and networks to allow, such as 'intranet,10.0.0.0/8'.",
)
@click.option("--ca-bundle", metavar="FILE", envvar="DOWNLOAD_CA_BUNDLE", help="Additional CA certificates (PEM).")
@click.option("--client-cert", metavar="FILE", envvar="DOWNLOAD_CLIENT_CERT", help="Client certificate and key (PEM).")
@click.option("-v", "--verbose", is_flag=True, help="Print details.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@json_option
def download(
    urls: tuple[str, ...],
    input_file: BinaryIO | None,
    output: str | None,
    jobs: int,
    attempts: int,
    rate: int | None,
    max_size: int | None,
    allow: str,
    ca_bundle: str | None,
    client_cert: str | None,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Download files into the current directory, and print their names.

    A repeated command resumes where the last one stopped. Existing files are never replaced.

    \b
    kue download https://example.com/file.zip
    kue download -o file.zip --sha256 9f86… https://example.com/latest
    kue download -i urls.txt -j 8 -o downloads/

    Exit codes: 0 all files were downloaded; 1 some were not; 2 usage error or invalid URL; 130 interrupted.
    """
    folder, filename = _destination(output)
    listed, bad_lines = _listed(urls, input_file, allow)
    if len(listed) != 1 and (filename or options["sha256"]):
        raise click.UsageError("a file name and --sha256 need exactly one URL")
    members = {name: value for name, value in options.items() if value not in (None, ())}
    if filename:
        members["filename"] = filename
    proxy = members.pop("proxy", None)  # the user of the command may use any proxy
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"  # as curl reads it
    try:
        requests = [DownloadRequest.parse({**members, "url": each.url}, allow=hosts(allow)) for each in listed]
        handler = DownloadHandler(
            folder, own_folder=False, exact_names=True, allow=hosts(allow), max_bytes=max_size or UNLIMITED,
            min_free=0, rate=rate, ca_bundle=ca_bundle, client_cert=client_cert, proxy=proxy,
        )  # fmt: skip
    except (InvalidRequest, ValueError) as exc:
        option, colon, rest = str(exc).partition(": ")
        is_option = colon and option in ("ca_bundle", "client_cert", "proxy")
        raise Refused(f"--{option.replace('_', '-')}: {rest}" if is_option else str(exc)) from None
    try:
        handler.check_folder()
    except DownloadError as exc:
        raise click.ClickException(str(exc).replace("the download folder", str(folder))) from None
    board = Board(quiet or as_json)
    for each in bad_lines:
        _report(board, as_json, each.url, each.error or "", line=each.line)
    try:
        failed = _run(handler, requests, board, jobs, attempts, verbose, as_json) + len(bad_lines)
    except KeyboardInterrupt:
        board.say("Interrupted. The same command resumes.", is_error=True)
        return 130
    return 1 if failed else 0


def _destination(output: str | None) -> tuple[Path, str | None]:
    """Return the folder, and the file's name if it is given. Raises UsageError for what can be neither."""
    if output is None:
        return Path("."), None
    path = Path(output).expanduser()
    if output == "-":
        raise click.UsageError("files are not written to standard output; give -o the name of a file or folder")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = 0
    except OSError as exc:
        raise click.UsageError(f"-o {cut(output, 60)}: {exc.strerror}; give another file or folder") from None
    if output.endswith("/") or stat.S_ISDIR(mode):
        return path, None
    if mode and not stat.S_ISREG(mode):
        raise click.UsageError(f"-o {output}: this is a device or a pipe; give the name of a file or folder")
    if path.name in ("", ".."):
        raise click.UsageError(f"-o {output}: this is not the name of a file")
    return path.parent, path.name


def _lines(file: BinaryIO) -> list[str]:
    """Return the lines of a list: UTF-8, or UTF-16 with a byte order mark, as Windows writes it."""
    content = file.read()
    charset = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    return content.decode(charset, "replace").splitlines()


def _listed(urls: tuple[str, ...], file: BinaryIO | None, allow: str) -> tuple[list[ListedUrl], list[ListedUrl]]:
    """Return the URLs to download, and the invalid lines of the file. Raises UsageError."""
    if not urls and file is None:
        raise click.UsageError("give at least one URL, or a list of URLs with -i")
    try:
        given = read_urls(urls, hosts(allow), skip_comments=False)
        lines = read_urls(_lines(file) if file else (), hosts(allow))
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    for each in given:
        if each.error:
            raise Refused(each.error)
        if each.duplicate_of is not None:
            click.echo(f"{safe_text(each.url)} is given twice, downloaded once", err=True)
    if not given and not lines:
        click.echo("The list has no URLs", err=True)
    known = {each.url for each in given}
    usable = [each for each in given if each.is_usable]
    for each in lines:
        if each.duplicate_of is not None or each.url in known:
            first = f"line {each.duplicate_of}" if each.duplicate_of is not None else "the command line"
            click.echo(f"line {each.line}: the same URL as in {first}, skipped", err=True)
        elif each.is_usable:
            usable.append(each)
    return usable, [each for each in lines if each.error]


def _run(
    handler: DownloadHandler,
    requests: list[DownloadRequest],
    board: Board,
    jobs: int,
    attempts: int,
    verbose: bool,
    as_json: bool,
) -> int:
    """Run all downloads; return how many failed."""
    stop = threading.Event()
    failed = 0
    with ThreadPoolExecutor(jobs) as pool:
        try:
            running = set()
            for number, request in enumerate(requests):
                job = CommandJob(number, request.to_data(), board, stop, verbose)
                running.add(pool.submit(_fetch, handler, job, board, attempts, as_json))
            while running:
                done, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                failed += sum(not each.result() for each in done)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            board.close()
            raise
    board.close()
    return failed


def _fetch(handler: DownloadHandler, job: CommandJob, board: Board, attempts: int, as_json: bool) -> bool:
    """Download one file, with retries; return whether that succeeded."""
    try:
        result = _with_retries(lambda: handler(job), job, board, attempts)
    except Interrupted:
        return False
    except DownloadError as exc:
        _report(board, as_json, job.data["url"], str(exc), status=exc.status)
        return False
    except Exception as exc:
        _report(board, as_json, job.data["url"], f"{type(exc).__name__}: {exc}")
        return False
    finally:
        board.remove(job.number)
    handler.forget(job)
    path = os.fspath(handler.folder / result["file"])
    if as_json:
        print_json(
            {"url": safe_text(job.data["url"]), "path": path, **{**result, "final_url": result["url"]}, "ok": True}
        )
    else:
        board.say(f"{size(result['bytes'])} in {duration(result['seconds'])}, {size(result['rate'])}/s")
        click.echo(plain(path))
    return True


def _with_retries(
    call: Callable[[], Mapping[str, Any]], job: CommandJob, board: Board, attempts: int
) -> Mapping[str, Any]:
    made = 0
    while True:
        began = time.monotonic()
        try:
            return call()
        except DownloadFailed:
            raise
        except DiskFull as exc:
            raise DownloadFailed(f"Not enough disk space: {exc.what}. The same command resumes") from None
        except DownloadPostponed as exc:
            made += exc.counts
            error: DownloadError = exc
            wait_s = exc.delay_ms / 1000
        except DownloadError as exc:
            # An attempt that received data for a while resets the backoff.
            made = 1 if time.monotonic() - began > MAX_WAIT_S else made + 1
            error, wait_s = exc, min(MAX_WAIT_S, 2.0 ** min(made - 1, 10))
        if made >= attempts:
            raise error
        board.say(f"{job.name}: {with_options(str(error))}; attempt {made + 1} of {attempts} in {duration(wait_s)}")
        job.sleep(wait_s)


def _report(board: Board, as_json: bool, url: str, error: str, **more: Any) -> None:
    error = with_options(error)
    if as_json:
        print_json({"url": safe_text(url), "ok": False, "error": error, **more})
    line = f"line {more['line']}: " if "line" in more else ""
    board.say(f"kue: {line}{safe_text(url)}: {error}", is_error=True)
