"""The handler of archive jobs, for a child process that gets its settings from the environment."""

from __future__ import annotations

import os

from ..downloads.archive import ARCHIVE_TYPE, ArchiveBuilder, ArchiveResult
from ..job import Job
from ..queue import Queue
from ..settings import Settings

#: The settings that a child needs.
VARIABLES = ("DOWNLOAD_DIR", "DOWNLOAD_MIN_FREE")
#: Attempts after which the child is replaced.
MAX_JOBS = 100


def build_archive(job: Job) -> ArchiveResult:
    """Archive the files of the job's children."""
    settings = Settings.load({name: os.environ[name] for name in VARIABLES})
    return ArchiveBuilder(settings.download_dir, min_free=settings.download_min_free or 0)(job)


def work_on_archives(settings: Settings, queue: Queue) -> None:
    """Start the worker of archive jobs: one at a time, since each keeps a core busy."""
    values = (str(settings.download_dir.absolute()), str(settings.download_min_free or 0))
    os.environ.update(zip(VARIABLES, values, strict=True))  # including those given as flags
    queue.process(ARCHIVE_TYPE, 1, build_archive, isolation="process", max_jobs=MAX_JOBS, prestart=False)
