"""The program: patch, settings, queue, handlers, web, run. `python app.py --help` lists the settings.

`python -m kue worker app:queue` works on its jobs without serving the page.
"""

import warnings

# eventlet announces its retirement at import; it is this project's choice all the same (docs/architecture.md).
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

if __name__ == "__main__":  # who imports this file has chosen the kind of threads already
    import os

    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")  # names are looked up aside, see main
    import eventlet

    eventlet.monkey_patch()  # before anything that imports socket, threading or ssl

import atexit  # noqa: E402
import sys  # noqa: E402

import kue  # noqa: E402
from kue.downloads import DownloadHandler, Follower  # noqa: E402
from kue.offload import look_names_up_aside  # noqa: E402
from kue.program import Program, own_addresses  # noqa: E402
from kue.server import ensure_redis  # noqa: E402
from kue.settings import Settings  # noqa: E402


def download_handler(settings: Settings) -> DownloadHandler:
    """Return the handler of `startdownload`; the sample that this very server offers is always allowed."""
    return DownloadHandler(
        settings.download_dir,
        allow=(*settings.download_allow, *own_addresses(settings)),
        max_bytes=settings.download_max_bytes,
        min_free=settings.download_min_free or 0,
        rate=settings.download_rate,
        per_host=settings.download_per_host,
    )


def work(settings: Settings, queue: kue.Queue) -> None:
    """Start working in this process."""
    queue.retain(settings.keep_complete, settings.keep_failed, settings.keep_ms)
    handler = download_handler(settings)
    Follower(queue, handler).start()
    queue.process("startdownload", settings.concurrency, handler)


def queue() -> kue.Queue:
    """Return the queue with its handlers at work, for `kue worker app:queue`. The settings are the environment's."""
    settings = Settings.load()
    url, server = ensure_redis(settings)
    if server is not None:
        atexit.register(server.stop)
    made = kue.create_queue(url, settings.prefix)
    work(settings, made)
    return made


def main(argv: list[str]) -> None:
    from kue.redaction import safe_text
    from kue.web import create_app  # Flask is of no use to a worker

    look_names_up_aside()
    settings = Settings.load(argv=argv)
    url, server = ensure_redis(settings)
    queue = kue.create_queue(url, settings.prefix, search=safe_text)
    program = Program(settings, queue, server)
    program.listen()
    if settings.workers:
        work(settings, queue)
    program.run(*create_app(settings, queue))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except kue.KueError as exc:
        sys.exit(f"kue: {exc}")
