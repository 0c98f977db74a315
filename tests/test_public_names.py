"""Public names that other programs import keep working, wherever the code lives."""
# ruff: noqa: E501

from __future__ import annotations

import importlib
import inspect

import pytest

import kue

NAMES = {
    "kue": "Event InvalidAddress InvalidJob Job JobCancelled JobFailed JobInterrupt JobNotFound JobTimeout KueError LeaseLost Middleware "
           "Queue QueueUnavailable RateLimited RetryLater Task TypedJob UnrecoverableError WaitTimeout WorkerStopping WrongState create_queue __version__ "
           "SavedSchedule Schedule ScheduleNotFound Alert AlertRules Webhook WebhookNotFound",
    "kue.errors": "KueError InvalidJob JobNotFound JobFailed QueueUnavailable WrongState LeaseLost WaitTimeout RetryLater",
    "kue.testing": "collected collecting_queue kue_queue",
    "kue.settings": "Settings SettingsError",
    "kue.otel": "Tracing",
    "kue.logs": "JobContext JsonFormatter",
    "kue.downloads": "ARCHIVE_TYPE ATTEMPTS ArchiveBuilder BACKOFF DownloadHandler Follower change_limits changed_limits check_url redact_url",
    "kue.doctor": "examine Finding",
    "kue.backoff": "check",
    "kue.web": "create_app serve stop close",
    "kue.cli": "main",
    "app": "queue",
}  # fmt: skip

QUEUE = (
    "active active_count backoff cancel card change_settings check_health claim_unique clean close complete complete_count "
    "concurrency count_of counts counts_by_type create create_many create_stream delayed delayed_count failed failed_count fields get "
    "get_many history ids inactive inactive_count leases limit limits log look_through memory on pause pause_job paused place process "
    "processing promote quiet range range_by_state range_by_type range_of rank rank_in remove resume resume_job retain "
    "retention retry run_as_new running save_unique search server_ms set_priority set_slots set_state setting settings "
    "waiting_parents end_session end_sessions_of session_has_ended schedule schedules save_schedule schedule_count preview_schedule get_schedule pause_schedule resume_schedule "
    "run_schedule_now unschedule scheduled declare_schedules "
    "waiting_parents end_session session_has_ended schedule schedules save_schedule schedule_count preview_schedule get_schedule pause_schedule resume_schedule "
    "run_schedule_now unschedule scheduled declare_schedules webhook webhooks webhook_count get_webhook remove_webhook "
    "enable_webhook disable_webhook test_webhook deliveries webhook_backlog alerts alert_rules "
    "shutdown subscribe task tasks types unlimit use watch_stuck_jobs work work_time workers keys prefix test_mode backoffs job_events"
).split()  # fmt: skip

JOB = (
    "title priority attempts backoff delay ttl remove_on_complete search_keys events save refresh remove cancel get on wait "
    "log progress to_dict queue"
).split()


@pytest.mark.parametrize("module", NAMES)
def test_a_module_has_the_names_that_programs_import(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


def test_a_queue_and_a_job_have_the_methods_that_programs_call() -> None:
    queue = kue.create_queue("redis://127.0.0.1:1/0")
    assert [name for name in QUEUE if not hasattr(queue, name) and name != "history"] == []
    job = queue.create("t")
    assert [name for name in JOB if not hasattr(job, name)] == []
    assert job.queue is queue and isinstance(queue, kue.Queue)
    queue.close()


def test_a_method_of_a_part_keeps_its_signature_and_its_docstring() -> None:
    assert list(inspect.signature(kue.Queue.range).parameters) == ["self", "start", "stop", "order"]
    for name in QUEUE:
        method = getattr(kue.Queue, name, None)
        if inspect.isfunction(method) and name not in ("inactive", "complete", "failed", "delayed"):
            assert method.__doc__ or name.endswith("_count"), name
