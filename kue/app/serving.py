"""Assemble and run the application, for ``python app.py`` and ``kue serve``."""

from __future__ import annotations

import atexit
from collections.abc import Sequence

from ..connection.locate import app_source
from ..downloads import DownloadHandler, LimitFollower
from ..process.log_output import configure_logging
from ..process.startup import lasting_imports
from ..queue import Queue
from ..settings import Settings, SettingsError
from .archive import work_on_archives
from .monitor_process import MonitorServer
from .webhooks import WebhookFollower, apply_settings, listen_to_node


def download_handler(settings: Settings) -> DownloadHandler:
    """Return the handler of `startdownload`. This server's own sample file is always allowed.

    Raises SettingsError for certificates that cannot be loaded.
    """
    try:
        return DownloadHandler(
            settings.download_dir,
            allow=settings.all_download_allow,
            max_bytes=settings.download_max_bytes,
            min_free=settings.download_min_free or 0,
            rate=settings.download_rate,
            per_host=settings.download_per_host,
            proxy=settings.download_proxy,
            ca_bundle=str(settings.download_ca_bundle) if settings.download_ca_bundle else None,
            client_cert=str(settings.download_client_cert) if settings.download_client_cert else None,
        )
    except ValueError as exc:
        argument, _, problem = str(exc).partition(": ")
        raise SettingsError(f"DOWNLOAD_{argument.upper()}: {problem}") from None


def work(settings: Settings, queue: Queue) -> None:
    """Start download workers in this process, and a child-process worker for archives."""
    apply_settings(settings, queue)
    queue.retain(settings.keep_complete, settings.keep_failed, settings.keep_ms)
    handler = download_handler(settings)
    LimitFollower(queue, handler).start()
    queue.process("startdownload", settings.concurrency, handler)
    work_on_archives(settings, queue)


def working_queue() -> Queue:
    """Return the queue with its handlers running, for `kue worker app:queue`. Settings come from the environment."""
    settings = Settings.load()
    source, server = app_source(settings)
    if server is not None:
        atexit.register(server.stop)
    queue = Queue(source, settings.prefix)
    work(settings, queue)
    return queue


def serve(argv: Sequence[str] = (), program_name: str = "python app.py") -> None:
    """Serve the monitor and run workers until a signal arrives, in green threads if the process is patched."""
    from ..concurrency.real_threads import look_names_up_aside
    from ..text.redaction import safe_text

    with lasting_imports():
        from ..web import create_app  # workers do not need Flask
    look_names_up_aside()
    settings = Settings.load(argv=argv, program_name=program_name)
    configure_logging(form=settings.log_format)
    source, server = app_source(settings)
    queue = Queue(source, settings.prefix, search=safe_text)
    program = MonitorServer(settings, queue, server)
    program.listen()
    if settings.workers:
        work(settings, queue)
    else:
        apply_settings(settings, queue)
        WebhookFollower(queue).start()
    listen_to_node(queue)
    program.run(*create_app(settings, queue))
