"""What each command prints, changes and returns, on a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kue.cli.commands.jobs.show import new_lines
from kue.cli.output import cut, plain, width
from kue.queue import Queue

Kue = Callable[..., Any]


def create(queue: Queue, count: int = 1, state: str = "", **options: Any) -> list[int]:
    jobs = queue.create_many({"type": "email", "data": {"n": n}, **options} for n in range(count))
    ids = [job.id for job in jobs]
    for job_id in ids:
        if state:
            queue.set_state(job_id, state)
    return ids


def test_create_prints_the_id_of_a_job_with_all_its_options(kue: Kue, queue: Queue) -> None:
    said = kue("create", "email", '{"to": "Thế giới"}', "-p", "high", "--attempts", 3, "--backoff", "exponential",
               "--delay", "15m", "--ttl", "90s", "--title", "Hello", "--remove-on-complete")  # fmt: skip
    assert said == (0, "1\n", "")
    job = queue.get(1)
    assert job.data == {"to": "Thế giới", "title": "Hello"} and job.state == "delayed"
    options = job.options
    assert (options.priority, options.attempts, options.delay_ms, options.ttl_ms) == (-10, 3, 900_000, 90_000)
    assert options.backoff == {"type": "exponential"} and options.remove_on_complete


def test_create_takes_json_backoff_and_answers_json(kue: Kue, queue: Queue) -> None:
    said = kue("create", "a b", "[1, 2]", "--backoff", '{"type": "fixed", "delay": 500}', "--json")
    assert json.loads(said.out) == {"id": 1}
    assert queue.get(1).data == [1, 2] and queue.get(1).options.backoff == {"type": "fixed", "delay": 500}


def test_create_waits_for_the_result(kue: Kue, queue: Queue) -> None:
    def work(job: Any) -> Any:
        if job.data.get("bad"):
            raise ValueError("no")
        return {"twice": job.data["n"] * 2}

    queue.process("double", work)
    assert json.loads(kue("create", "double", '{"n": 21}', "--wait", "--json").out)["result"] == {"twice": 42}
    assert kue("create", "double", '{"n": 21}', "--wait").out == '{\n  "twice": 42\n}\n'
    failed = kue("create", "double", '{"bad": true}', "--wait")
    assert failed == (1, "", "kue: job 3 failed: no\n")
    late = kue("create", "nobody", "--wait", "--timeout", "50ms")
    assert late.code == 1 and "did not finish within 0.05 s" in late.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "x", "{bad"), "DATA is not JSON"),
        (("create", "x", "--priority", "nonsense"), "low, normal, medium, high, critical"),
        (("create", "x", "--delay", "soon"), "90s or 7d"),
        (("create", "x", "--backoff", "nonsense"), "no backoff named"),
        (("create", "x", "--timeout", "5s"), "--timeout needs --wait"),
        (("ls", "nonsense"), "'nonsense' is not one of 'inactive'"),
        (("ls", "-r", "localhost:6379"), "redis://127.0.0.1:6379/0"),
        (("ls", "-r", "redis://127.0.0.1:1/abc"), "the database must be a number"),
        (("bench", "-r", "redis://127.0.0.1:1/abc"), "the database must be a number"),
        (("ls", "-q", "a b"), "short word"),
        (("show",), "Missing argument 'ID'"),
        (("show", "x" * 65), "whole number from 1"),
        (("nonsense",), "No such command 'nonsense'"),
        (("rm",), "job ids, or --state"),
        (("rm", "1", "--type", "email"), "ids or a filter, not both"),
        (("clean",), "--older-than 7d"),
        (("worker", "nonsense"), "MODULE:QUEUE"),
        (("worker", "jobs:queue", "-c", "email"), "email=20"),
        (("dashboard", "--host", "0.0.0.0"), "KUE_AUTH=user:password"),
    ],
)
def test_what_is_not_written_right_is_told_in_one_line(kue: Kue, words: tuple[str, ...], said: str) -> None:
    answer = kue(*words)
    assert answer.code == 2 and answer.out == ""
    assert said in answer.err and answer.err.startswith("kue: ") and answer.err.count("\n") == 1
    assert "--help" in answer.err


def test_ls_shows_waiting_jobs_in_order_and_the_others_newest_first(kue: Kue, queue: Queue) -> None:
    create(queue, 3)
    create(queue, 1, priority="high")
    create(queue, 3, state="failed")
    create(queue, 1, state="failed", priority="critical")

    def ids(*words: object) -> list[int]:
        found = [job["id"] for job in json.loads(kue("ls", *words, "--json").out)]
        lines = kue("ls", *words).out.splitlines()
        assert [int(line.split()[0]) for line in lines[1:]] == found
        return found

    assert ids("inactive") == [4, 1, 2, 3]
    assert ids("inactive", "-n", 2) == [4, 1]
    assert ids("failed") == [8, 7, 6, 5]
    assert ids("failed", "-n", 2) == [8, 7]
    assert ids() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert ids("-t", "email", "-n", 3) == [8, 7, 6]
    assert ids("-t", "other") == []


def test_ls_of_delayed_jobs_is_in_order_of_their_time(kue: Kue, queue: Queue) -> None:
    for delay, priority in ((3, "high"), (1, "low"), (2, "normal")):
        create(queue, delay=delay * 3_600_000, priority=priority)
    for words in (("delayed",), ("delayed", "-t", "email")):
        assert [line.split()[:5] for line in kue("ls", *words).out.splitlines()[1:]] == [
            ["2", "email", "delayed", "low", "0/1"],
            ["3", "email", "delayed", "normal", "0/1"],
            ["1", "email", "delayed", "high", "0/1"],
        ]


def test_a_running_job_shows_how_far_it_is(kue: Kue, queue: Queue) -> None:
    job_id = create(queue, state="active")[0]
    queue.get(job_id).progress(1, 4)
    assert kue("ls", "active").out.splitlines()[1].endswith('25% {"n":0}')


def test_columns_are_aligned_whatever_the_job_holds(kue: Kue, queue: Queue) -> None:
    queue.create("日本", {"title": "\x1b[31mred\nline"}).save()
    queue.create("longer type", {"title": "x"}).save()
    header, first, second = kue("ls").out.splitlines()
    at = width(header[: header.index("STATE")])
    assert cut(first, at + 9).endswith("inactive…") and cut(second, at + 9).endswith("inactive…")
    assert "\x1b" not in second and "\\x1b[31mred\\nline" in second


def test_show_tells_all_of_a_job(kue: Kue, queue: Queue) -> None:
    def work(job: Any) -> Any:
        for n in range(12):
            job.log("line %d", n)
        if job.attempts_made == 0:
            raise ValueError("first")
        return [1]

    queue.process("email", work)
    queue.create("email", {"to": "a"}).attempts(2).priority(7).save().wait(10)
    out = kue("show", 1).out
    for text in ("job       1  email", "state     complete", "priority  7", "attempts  2 of 2", '"to": "a"', "first"):
        assert text in out, out
    assert "log, the last 10 of" in out and "line 11" in out
    told = json.loads(kue("show", 1, "--json").out)
    assert told["result"] == [1] and len(told["log"]) >= 24 and told["attempt_log"][0]["outcome"] == "failed"


def test_show_says_what_a_job_without_a_time_waits_for(queue: Queue, kue: Any) -> None:
    held = queue.create("mail").save()
    queue.pause_job(held.id)
    parent = queue.create("parent").after([queue.create("child")]).save()
    assert "due       when it is resumed" in kue("show", held.id).out
    assert "due       when its children have ended" in kue("show", parent.id).out


@pytest.mark.parametrize("words", [("show", 99), ("log", 99), ("retry", 99), ("rm", 99), ("promote", 99)])
def test_an_unknown_id_is_told_with_exit_code_1(kue: Kue, words: tuple[Any, ...]) -> None:
    assert kue(*words) == (1, "", 'kue: job 99 does not exist\n')


def test_log_prints_lines(kue: Kue, queue: Queue) -> None:
    job = queue.create("email").save()
    job.log("one")
    job.log("two\x07")
    assert kue("log", 1).out == "one\ntwo\\x07\n"
    assert json.loads(kue("log", 1, "--json").out) == ["one", "two\x07"]
    queue.set_state(1, "complete")
    assert kue("log", 1, "-f", "--json").out == '"one"\n"two\\u0007"\n'


def test_a_followed_log_misses_nothing_when_old_lines_are_dropped() -> None:
    assert new_lines([], ["a"]) == ["a"]
    assert new_lines(["a", "b"], ["a", "b", "c"]) == ["c"]
    assert new_lines(["a", "b", "c"], ["b", "c", "d", "e"]) == ["d", "e"]
    assert new_lines(["a", "b"], ["x", "y"]) == ["x", "y"]
    assert new_lines(["a"], ["a"]) == []


def test_retry_promote_cancel_and_rm_take_several_ids(kue: Kue, queue: Queue) -> None:
    create(queue, 3, state="failed")
    create(queue, 2, delay=10**6)
    said = kue("retry", 1, 2, 4)
    assert said.code == 1 and said.out == "job 1 queued again\njob 2 queued again\n"
    assert said.err == "kue: job 4 is delayed, not failed\n"
    assert kue("promote", 4, 5).code == 0
    assert kue("cancel", 1).out == "job 1 cancelled\n"
    assert json.loads(kue("rm", 1, 2, "--json").out) == [{"id": 1, "ok": True}, {"id": 2, "ok": True}]
    assert json.loads(kue("rm", 1, "--json").out)[0]["error"] == 'job 1 does not exist'
    assert queue.counts() == {"inactive": 2, "active": 0, "complete": 0, "failed": 1, "delayed": 0}


def test_filters_ask_first_and_yes_does_not(kue: Kue, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    create(queue, 3, state="failed")
    queue.set_state(queue.create("other").save().id, "failed")
    # Without a terminal nobody can be asked
    refused = kue("retry", "--type", "email")
    assert refused.code == 2 and "3 failed jobs of type email: add --yes" in refused.err
    assert queue.failed_count() == 4
    assert kue("retry", "--type", "email", "-y").out == "3 jobs queued again\n"
    assert json.loads(kue("rm", "--state", "failed", "-y", "--json").out) == {"done": 1, "skipped": 0}
    assert kue("rm", "--state", "failed").out == "0 jobs removed\n"
    assert queue.counts()["inactive"] == 3


def test_a_question_that_is_answered_with_no_changes_nothing(
    kue: Kue, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(queue, 2, state="failed")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: "n")
    assert kue("rm", "--state", "failed").code == 130
    assert queue.failed_count() == 2
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: "y")
    assert kue("rm", "--state", "failed").code == 0
    assert queue.failed_count() == 0


def test_pause_and_resume(kue: Kue, queue: Queue) -> None:
    create(queue)
    assert kue("pause", "email").out == "email paused\n"
    assert queue.paused() == ["email"]
    assert "email (paused)" in kue("stats").out
    assert "no job of type nothing was ever created" in kue("pause", "nothing").err
    assert "also paused: nothing" in kue("stats").out
    assert kue("resume", "email", "nothing", "x").out == "email resumed\nnothing resumed\nx was not paused\n"
    assert queue.paused() == []


def test_pause_and_resume_of_one_job(kue: Kue, queue: Queue) -> None:
    job = queue.create("email").save()
    assert kue("pause", "--job", str(job.id)).out == f"job {job.id} suspended\n"
    assert queue.get(job.id).state == "delayed"
    assert kue("resume", "-j", str(job.id)).out == f"job {job.id} resumed\n"
    assert queue.get(job.id).state == "inactive"
    assert kue("pause", "-j", "99").code == 1
    assert kue("pause").code == kue("resume").code == 2


def test_clean_removes_by_age_and_by_count(kue: Kue, queue: Queue, redis_client: Any) -> None:
    create(queue, 5, state="complete")
    create(queue, 4, state="failed")
    redis_client.hset("q:job:1", "updated_at", 1)
    assert kue("clean", "--older-than", "1h").out == "removed 1 complete and 0 failed jobs\n"
    assert json.loads(kue("clean", "--more-than", 2, "--state", "failed", "--json").out) == {"failed": 2}
    assert queue.counts() == {"inactive": 0, "active": 0, "complete": 4, "failed": 2, "delayed": 0}


def test_stats_count_by_type_and_name_the_workers(kue: Kue, queue: Queue) -> None:
    create(queue, 2)
    queue.create("b").save()
    queue.process("other", 3, lambda job: None)
    told = json.loads(kue("stats", "--json").out)
    assert told["counts"]["inactive"] == 3 and told["types"]["email"]["inactive"] == 2
    assert told["paused"] == [] and told["workTime"] == 0 and isinstance(told["workers"], list)
    lines = kue("stats").out.splitlines()
    assert lines[0].split() == ["TYPE", "INACTIVE", "ACTIVE", "COMPLETE", "FAILED", "DELAYED"]
    assert lines[2].split() == ["email", "2", "0", "0", "0", "0"] and lines[3].split()[:2] == ["all", "3"]


def test_doctor_tells_what_is_wrong_and_puts_it_right(
    kue: Kue, queue: Queue, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kue.doctor.SETTLE_S", 0.01)
    create(queue)
    assert kue("doctor") == (0, "no problems found\n", "")
    redis_client.zrem("q:jobs", "01|1")
    assert kue("doctor") == (1, "found  job 1: not in jobs (--fix: added)\n1 problem found, 0 fixed\n", "")
    assert json.loads(kue("doctor", "--json").out) == [
        {"id": 1, "what": "not in jobs", "fixed": False, "repair": "added"}
    ]
    assert kue("doctor", "--fix") == (0, "fixed  job 1: not in jobs (added)\n1 problem found, 1 fixed\n", "")
    assert kue("doctor", "--json").out == "[]\n"


def test_bench_measures_and_leaves_nothing_behind(kue: Kue, queue: Queue, redis_client: Any) -> None:
    create(queue)
    before = sorted(redis_client.keys())
    told = json.loads(kue("bench", "-n", 300, "--json").out)
    assert set(told) >= {"save_per_s", "create_many_per_s", "work_per_s", "latency_p50_ms"}
    assert all(value > 0 for value in told.values())
    assert sorted(redis_client.keys()) == before


def test_the_place_is_told_before_or_after_the_command_or_by_the_environment(
    kue: Kue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kue("-q", "other", "create", "a").out == "1\n"
    assert kue("create", "a", "-q", "other").out == "2\n"
    monkeypatch.setenv("KUE_PREFIX", "other")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert kue("-r", redis_url, "create", "a").out == "3\n"
    assert kue("-r", "redis://127.0.0.1:1", "create", "a", "-r", redis_url).out == "4\n"
    monkeypatch.setenv("REDIS_URL", "nonsense")
    assert kue("ls").code == 2 and "REDIS_URL" in kue("ls").err


def test_a_redis_that_cannot_be_reached_or_refuses_is_exit_code_3(
    kue: Kue, redis_url: str, second_redis_server: Callable[..., str]
) -> None:
    away = kue("stats", "-r", "redis://127.0.0.1:1")
    assert away.code == 3 and away.err.startswith("kue: Redis is unreachable: Error 111")
    url = second_redis_server("--requirepass", "right")
    wrong = url.replace("//", "//:wrong@")
    for given, words in ((url, "Authentication required"), (wrong, "invalid username-password")):
        refused = kue("stats", "-r", given)
        assert refused.code == 3 and words in refused.err and "wrong@" not in refused.err
        assert refused.err.startswith("kue: Redis refused the command: ") and refused.err.count("\n") == 1
    assert kue("stats", "-r", url.replace("//", "//:right@")).code == 0
    assert kue("stats", "-r", redis_url.replace("/0", "/99")).code == 3


def test_text_that_could_steer_a_terminal_is_shown_harmless() -> None:
    assert plain("a\x1b]0;x\x07\nb\u202e") == "a\\x1b]0;x\\x07\\nb\\u202e"
    assert width("日本") == 4 and cut("日本語", 5) == "日本…"


def test_limits_are_set_listed_and_removed(kue: Kue, queue: Queue) -> None:
    assert kue("limit", "set", "mail", "--rate", "100/min", "--burst", 20, "--concurrency", 5).out == "mail limited\n"
    said = kue("limit", "set", "crawl", "--by", "data.host", "--rate", "2/s", "--weight", "a=b=2")
    assert said == (0, "crawl limited by data.host\n", "")
    assert queue.limits()[0]["weights"] == {"a=b": 2.0}
    lines = kue("limit", "ls").out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["crawl", "data.host", "2/s"], ["mail", "100/min", "20"]]
    assert json.loads(kue("limit", "ls", "--json").out)[1]["concurrency"] == 5
    assert kue("limit", "rm", "crawl", "--of-type") == (1, "crawl was not limited\n", "")
    assert kue("limit", "rm", "crawl", "mail").out == "crawl is no longer limited\nmail is no longer limited\n"
    assert queue.limits() == []


@pytest.mark.parametrize(
    "words", [("mail",), ("mail", "--rate", "x"), ("mail", "--rate", "1/s", "--by", "data.a", "--weight", "2")]
)
def test_a_meaningless_limit_is_a_usage_error(kue: Kue, queue: Queue, words: tuple[str, ...]) -> None:
    assert kue("limit", "set", *words).code == 2
    assert queue.limits() == []
