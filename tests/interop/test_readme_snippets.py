"""Snippets of Kue's README, each translated line by line with docs/guides/migration/from-node-kue.md, on a real server.

The docstring of a test quotes the JavaScript, and a test at the end looks it up in the README itself.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from werkzeug.serving import make_server

import kue
import kue.web
from kue.settings import Settings
from kue.testing import collected
from tests.support import NODE_DIR, require_node, wait_until

EMAIL = {"title": "welcome email for tj", "to": "tj@learnboost.com", "template": "welcome-email"}
#: Generous: the machine may be busy.
WAIT_S = 30.0


@pytest.fixture
def said() -> list[Any]:
    """In place of the console."""
    return []


@pytest.fixture
def reached(queue: kue.Queue) -> Callable[..., None]:
    """Wait until the jobs are in a state."""

    def wait(state: str, *jobs: kue.Job) -> None:
        for job in jobs:
            wait_until(lambda job=job: queue.get(job.id or 0).state == state, WAIT_S, message=f"{job} is {state}")

    return wait


def test_creating_jobs(queue: kue.Queue, said: list[Any]) -> None:
    """
    var job = queue.create('email', {
        title: 'welcome email for tj'
    }).save( function(err){
       if( !err ) console.log( job.id );
    """
    job = queue.create("email", {
        "title": "welcome email for tj",
        "to": "tj@learnboost.com",
        "template": "welcome-email",
    }).save()  # fmt: skip
    said.append(job.id)

    assert said == [1]
    assert queue.get(1).data == EMAIL


def test_job_priority(queue: kue.Queue) -> None:
    """
    }).priority('high').save();
    """
    queue.create("email", dict(EMAIL)).priority("low").save()
    queue.create("email", dict(EMAIL)).priority("high").save()

    assert queue.inactive() == [2, 1]


def test_failure_attempts(queue: kue.Queue, reached: Callable[..., None]) -> None:
    """
    }).priority('high').attempts(5).save();
    """
    job = queue.create("email", dict(EMAIL)).priority("high").attempts(5).save()

    def handler(job: kue.Job) -> None:
        raise RuntimeError("no mail today")

    queue.process("email", handler)
    reached("failed", job)
    assert job.refresh().attempts_made == 5


def test_failure_backoff(queue: kue.Queue, reached: Callable[..., None]) -> None:
    """
    job.attempts(3).backoff( true )
    job.attempts(3).backoff( {delay: 60*1000, type:'fixed'} )
    job.attempts(3).backoff( {type:'exponential'} )
    job.attempts(3).backoff( function( attempts, delay ){
    """
    calls: list[tuple[int, int]] = []

    def customized(attempts: int, delay: int) -> int:
        calls.append((attempts, delay))
        return 10

    queue.backoff("customized", customized)
    jobs = [queue.create("email", {}) for _ in range(4)]
    jobs[0].attempts(3).backoff(True)
    jobs[1].attempts(3).backoff({"delay": 60 * 1000, "type": "fixed"})
    jobs[2].attempts(3).backoff({"type": "exponential"})
    jobs[3].attempts(3).backoff("customized")
    for job in jobs:
        job.save()

    queue.process("email", lambda job: 1 / 0)
    reached("failed", jobs[0], jobs[2], jobs[3])  # without a delay there is nothing to wait for
    reached("delayed", jobs[1])
    assert calls[:2] == [(1, 0), (2, 10)]


def test_job_ttl(queue: kue.Queue, reached: Callable[..., None]) -> None:
    """
    queue.create('email', {title: 'email job with TTL'}).ttl(milliseconds).save();
    """
    milliseconds = 150
    let_go = threading.Event()
    job = queue.create("email", {"title": "email job with TTL"}).ttl(milliseconds).save()
    queue.process("email", lambda job: let_go.wait(WAIT_S))
    reached("failed", job)
    let_go.set()
    assert job.refresh().error == "TTL exceeded"


def test_job_logs(queue: kue.Queue) -> None:
    """
    job.log('$%d sent to %s', amount, user.name);
    job.log({key: 'some key', value: 10});
    job.log([1,2,3,5,8]);
    job.log(10.1);
    """
    amount, user = 50, SimpleNamespace(name="tj")
    job = queue.create("email", {}).save()
    job.log("$%d sent to %s", amount, user.name)
    job.log({"key": "some key", "value": 10})
    job.log([1, 2, 3, 5, 8])
    job.log(10.1)

    assert queue.log(job.id or 0) == ["$50 sent to tj", '{"key":"some key","value":10}', "[1,2,3,5,8]", "10.1"]


def test_job_progress(queue: kue.Queue) -> None:
    """
    job.progress(frames, totalFrames);
    """
    frames, total_frames = 100, 400
    job = queue.create("video conversion", {}).save()
    job.progress(frames, total_frames)
    assert job.refresh().progress_percent == 25


def test_job_events(queue: kue.Queue, said: list[Any]) -> None:
    """
    job.on('complete', function(result){
    }).on('failed attempt', function(errorMessage, doneAttempts){
    }).on('failed', function(errorMessage){
    }).on('progress', function(progress, data){
    """
    job = queue.create("video conversion", {"title": "converting loki's to avi", "user": 1, "frames": 200}).attempts(2)
    job.on("complete", lambda result, _: said.append(("complete", result))).on(
        "failed attempt", lambda message, attempts: said.append(("failed attempt", message, attempts))
    ).on("failed", lambda message, _: said.append(("failed", message))).on(
        "progress", lambda progress, data: said.append(("progress", progress, data))
    )
    job.save()

    def convert(job: kue.Job) -> str:
        if not job.attempts_made:
            raise RuntimeError("no codec")
        job.progress(50, 100, {"frame": 7})
        return "avi"

    queue.process("video conversion", convert)
    wait_until(lambda: len(said) == 3, WAIT_S)
    assert said == [("failed attempt", "no codec", 1), ("progress", 50, {"frame": 7}), ("complete", "avi")]


@pytest.mark.parametrize("whole_queue", [True, False])
def test_job_events_off(redis_url: str, said: list[Any], whole_queue: bool) -> None:
    """
    kue.createQueue({jobEvents: false})
    var job = queue.create('test').events(false).save();
    """
    queue = kue.create_queue(redis_url, job_events=not whole_queue)
    ended = threading.Event()
    job = queue.create("test")
    if not whole_queue:
        job = job.events(False)
    job.on("complete", said.append).save()
    queue.on("job complete", lambda *_: ended.set())

    queue.process("test", lambda job: None)
    assert ended.wait(WAIT_S)
    assert said == []
    queue.shutdown(2)


def test_queue_events(queue: kue.Queue, said: list[Any]) -> None:
    """
    queue.on('job enqueue', function(id, type){
    }).on('job complete', function(id, result){
      kue.Job.get(id, function(err, job){
        job.remove(function(err){
    """

    def completed(job_id: int, result: Any, _: None) -> None:
        job = kue.Job.get(queue, job_id)
        job.remove()
        said.append(f"removed completed job #{job.id}")

    queue.on("job enqueue", lambda job_id, kind: said.append(f"Job {job_id} got queued of type {kind}")).on(
        "job complete", completed
    )
    queue.create("email", {}).save()
    queue.process("email", lambda job: "sent")
    wait_until(lambda: len(said) == 2, WAIT_S)
    assert said == ["Job 1 got queued of type email", "removed completed job #1"]
    assert queue.range(0, -1) == []


def test_delayed_jobs(queue: kue.Queue) -> None:
    """
    }).delay(milliseconds)
      .priority('high')
      .save();
    """
    milliseconds = 100
    email = queue.create("email", dict(EMAIL)).delay(milliseconds).priority("high").save()
    assert queue.get(email.id or 0).state == "delayed"
    queue.process("email", lambda job: time.time())
    assert email.wait(WAIT_S) * 1000 >= (queue.get(email.id or 0).created_at or 0) + milliseconds


def test_processing_jobs(queue: kue.Queue, reached: Callable[..., None]) -> None:
    """
    queue.process('email', function(job, done){
      email(job.data.to, done);
    function email(address, done) {
        return done(new Error('invalid to address'));
      done();
    """

    def process(job: kue.Job, done: Any) -> None:
        email(job.data["to"], done)

    def email(address: str, done: Any) -> None:
        if "@" not in address:
            return done(ValueError("invalid to address"))
        done()

    queue.process("email", process)
    good, bad = queue.create("email", {"to": "a@b.c"}).save(), queue.create("email", {"to": "tj"}).save()
    reached("complete", good)
    reached("failed", bad)
    with pytest.raises(kue.JobFailed, match="invalid to address"):
        bad.wait(WAIT_S)


def test_a_result(queue: kue.Queue) -> None:
    """
    Workers can also pass job result as the second parameter to done `done(null,result)`
    """
    queue.process("email", lambda job, done: done(None, {"sent": True}))
    assert queue.create("email", {}).save().wait(WAIT_S) == {"sent": True}


def test_processing_concurrency(queue: kue.Queue) -> None:
    """
    queue.process('email', 20, function(job, done){
    """
    together = threading.Barrier(20)

    def handler(job: kue.Job, done: Any) -> None:
        together.wait(WAIT_S)
        done()

    queue.process("email", 20, handler)
    for job in queue.create_many([{"type": "email"}] * 20):
        job.wait(WAIT_S)


def test_pause_processing(queue: kue.Queue) -> None:
    """
    queue.process('email', function(job, ctx, done){
      ctx.pause( 5000, function(err){
        setTimeout( function(){ ctx.resume(); }, 10000 );
    """
    first, resume = threading.Event(), threading.Event()

    def handler(job: kue.Job, ctx: Any, done: Any) -> None:
        if not first.is_set():
            ctx.pause()
            first.set()
            threading.Thread(target=lambda: (resume.wait(WAIT_S), ctx.resume())).start()
        done()

    queue.process("email", handler)
    queue.create("email", {}).save().wait(WAIT_S)
    second = queue.create("email", {}).save()
    with pytest.raises(kue.WaitTimeout):
        second.wait(0.3)
    resume.set()
    second.wait(WAIT_S)


def test_updating_progress(queue: kue.Queue) -> None:
    """
    queue.process('slideshow pdf', 5, function(job, done){
      var slides = job.data.slides
        job.log('rendering %dx%d slide', slide.width, slide.height);
          job.progress(i, len, {nextSlide : i == len ? 'itsdone' : i + 1});
    """

    @queue.process("slideshow pdf", 5)
    def render(job: kue.Job) -> None:
        slides = job.data["slides"]
        for number, slide in enumerate(slides, start=1):
            job.log("rendering %dx%d slide", slide["width"], slide["height"])
            job.progress(number, len(slides), {"nextSlide": "itsdone" if number == len(slides) else number + 1})

    slides = [{"width": 640, "height": 480}] * 2
    job = queue.create("slideshow pdf", {"title": "tj's slideshow", "slides": slides}).save()
    job.wait(WAIT_S)
    assert queue.log(job.id or 0) == ["rendering 640x480 slide"] * 2
    assert job.refresh().progress_data == {"nextSlide": "itsdone"}


@pytest.mark.parametrize("words", [(), ("email",)], ids=["all", "one type"])
def test_graceful_shutdown(redis_url: str, words: tuple[str, ...]) -> None:
    """
    queue.shutdown( 5000, function(err) {
    """
    queue = kue.create_queue(redis_url)
    begun, go_on = threading.Event(), threading.Event()

    def handler(job: kue.Job) -> str:
        begun.set()
        go_on.wait(WAIT_S)
        return "finished"

    queue.process("email", handler)
    job, waiting = queue.create("email", {}).save(), queue.create("email", {}).save()
    assert begun.wait(WAIT_S)
    threading.Timer(0.1, go_on.set).start()
    queue.shutdown(5, *words)
    watcher = kue.create_queue(redis_url)
    assert watcher.get(job.id or 0).result == "finished"
    assert watcher.get(waiting.id or 0).state == "inactive"
    watcher.close()
    queue.shutdown(1)


def test_error_handling(queue: kue.Queue, redis_client: redis.Redis, said: list[Any]) -> None:
    """
    queue.on( 'error', function( err ) {
      console.log( 'Oops... ', err );
    """
    queue.on("error", lambda exc: said.append(("Oops...", exc)))
    queue.on("job complete", print)  # a listener, to have a connection that can break
    redis_client.client_kill_filter(_type="pubsub")
    wait_until(lambda: said, WAIT_S)
    assert isinstance(said[0][1], redis.RedisError)


def test_an_error_in_a_handler(queue: kue.Queue, reached: Callable[..., None]) -> None:
    """
    queue.process('my-error-prone-task', function(job, done){
        throw new Error( 'bad things happen' );
    """

    def handler(job: kue.Job, done: Any) -> None:
        raise RuntimeError("bad things happen")

    queue.process("my-error-prone-task", handler)
    job = queue.create("my-error-prone-task").save()
    reached("failed", job)
    assert (job.refresh().error or "").startswith("RuntimeError: bad things happen")


def test_watch_stuck_jobs(queue: kue.Queue, redis_client: redis.Redis) -> None:
    """
    queue.watchStuckJobs(interval)
    """
    interval = 1000
    queue.watch_stuck_jobs(interval)
    job = queue.create("email", {}).save()
    redis_client.delete("q:email:jobs")  # its token is lost
    queue.process("email", lambda job: "done")
    assert job.wait(WAIT_S) == "done"


def test_queue_maintenance(queue: kue.Queue, said: list[Any]) -> None:
    """
    queue.inactiveCount( function( err, total ) { // others are activeCount, completeCount, failedCount, delayedCount
    queue.failedCount( 'my-critical-job', function( err, total ) {
    queue.inactive( function( err, ids ) { // others are active, complete, failed, delayed
    kue.Job.rangeByState( 'failed', 0, n, 'asc', function( err, jobs ) {
    kue.Job.rangeByType( 'my-job-type', 'failed', 0, n, 'asc', function( err, jobs ) {
    """
    for kind in ("my-job-type", "my-critical-job", "my-job-type"):
        queue.set_state(queue.create(kind).save().id or 0, "failed")
    queue.create("other").save()
    n = 10
    if queue.inactive_count() > 0:
        said.append("We need some back pressure here")
    if queue.failed_count("my-critical-job") > 0:
        said.append("This is tOoOo bad")
    assert said == ["We need some back pressure here", "This is tOoOo bad"]
    assert (queue.active_count(), queue.complete_count(), queue.delayed_count()) == (0, 0, 0)
    assert queue.inactive() == [4] and queue.active() == queue.complete() == queue.delayed() == []
    assert [job.id for job in queue.range_by_state("failed", 0, n, "asc")] == [1, 2, 3]
    assert [job.id for job in queue.range_by_type("my-job-type", "failed", 0, n, "asc")] == [1, 3]


def test_programmatic_job_management(queue: kue.Queue) -> None:
    """
    queue.active( function( err, ids ) {
        kue.Job.get( id, function( err, job ) {
          job.inactive();
    """
    queue.set_state(queue.create("email").save().id or 0, "active")
    for job_id in queue.active():
        job = kue.Job.get(queue, job_id)
        queue.set_state(job.id or 0, "inactive")
    assert queue.inactive() == [1]


def test_remove_on_complete(queue: kue.Queue, redis_client: redis.Redis) -> None:
    """
    queue.create( ... ).removeOnComplete( true ).save()
    """
    removed = threading.Event()
    queue.on("job remove", lambda *_: removed.set())
    queue.create("email", {}).remove_on_complete(True).save()
    queue.process("email", lambda job: "sent")
    assert removed.wait(WAIT_S)
    assert not redis_client.exists("q:job:1", "q:jobs")


def test_job_cleanup(queue: kue.Queue, said: list[Any]) -> None:
    """
    kue.Job.rangeByState( 'complete', 0, n, 'asc', function( err, jobs ) {
        job.remove( function(){
          console.log( 'removed ', job.id );
    """
    for job in queue.create_many([{"type": "email"}] * 5):
        queue.set_state(job.id or 0, "complete")
    n = 2
    for job in queue.range_by_state("complete", 0, n, "asc"):
        job.remove()
        said.append(f"removed {job.id}")
    assert said == ["removed 1", "removed 2", "removed 3"]
    assert queue.complete() == [4, 5]


def test_redis_connection_settings(redis_url: str) -> None:
    """
    redis: 'redis://example.com:1234?redis_option=value&redis_option=value'
    """
    queue = kue.create_queue(f"{redis_url}?socket_timeout=3&client_name=shop", prefix="mine")
    assert queue.create("email").save().id == 1
    factory = kue.create_queue(lambda: redis.Redis.from_url(redis_url), prefix="mine")
    assert factory.get(1).type == "email"
    for each in (queue, factory):
        each.close()


@pytest.fixture
def page(redis_url: str) -> Iterator[tuple[kue.Queue, Callable[..., Any]]]:
    """A queue with search, and its JSON API over HTTP."""
    queue = kue.create_queue(redis_url, search=True)
    app, _ = kue.web.create_app(Settings.load({}), queue, async_mode="threading")
    app.config["KUE_TITLE"] = "My Application"
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def ask(method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json" if path != "/" else "text/html"}
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            text = answer.read().decode()
        return json.loads(text) if path != "/" else text

    yield queue, ask
    server.shutdown()
    thread.join()
    server.server_close()
    kue.web.close(app)
    queue.shutdown(2)


def test_the_user_interface_and_its_title(page: tuple[kue.Queue, Callable[..., Any]]) -> None:
    """
    kue.createQueue(...);
    kue.app.listen(3000);
    kue.app.set('title', 'My Application');
    """
    _, ask = page
    assert re.search(r"<title>.*My Application</title>", ask("GET", "/"))


def test_search(page: tuple[kue.Queue, Callable[..., Any]]) -> None:
    """
    }).searchKeys( ['to', 'title'] ).save();
        disableSearch: false
    """
    queue, ask = page
    queue.create("email", dict(EMAIL)).search_keys(["to", "title"]).save()
    queue.create("video", {"title": "avi video"}).save()
    assert ask("GET", "/job/search?q=avi%20video") == ["2"]
    assert ask("GET", "/job/search?q=learnboost") == ["1"]
    assert ask("GET", "/job/search?q=template") == []
    assert queue.search("welcomes") == [1]


def test_the_json_api(page: tuple[kue.Queue, Callable[..., Any]]) -> None:
    """
    $ curl -X DELETE http://local:3000/job/2
    {"message":"job 2 removed"}
    {"message": "job created", "id": 3}
    """
    queue, ask = page
    wanted = {"type": "email", "data": EMAIL, "options": {"attempts": 5, "priority": "high"}}
    later = {"type": "email", "data": {"title": "followup"}, "options": {"delay": 86400, "attempts": 5}}
    assert ask("POST", "/job", wanted) == {"message": "job created", "id": 1}
    assert ask("POST", "/job", [wanted, later]) == [{"message": "job created", "id": n} for n in (2, 3)]
    assert ask("GET", "/stats")["inactiveCount"] == 2
    assert ask("GET", "/job/3")["delay"] == "86400"
    assert [job["id"] for job in ask("GET", "/jobs/email/inactive/0..9/desc")] == [2, 1]
    queue.get(1).log("foo")
    assert ask("GET", "/job/1/log") == ["foo"]
    assert ask("DELETE", "/job/2") == {"message": "job 2 removed"}


def test_parallel_processing(redis_url: str) -> None:
    """
    queue.process('email', 10, function(job, done){
    """
    pools = [kue.create_queue(redis_url) for _ in range(3)]
    ran: list[int] = []
    for number, queue in enumerate(pools):
        queue.process("email", 10, lambda job, number=number: ran.append(number))
    for job in pools[0].create_many([{"type": "email"}] * 60):
        job.wait(WAIT_S)
    assert len(ran) == 60
    for queue in pools:
        queue.shutdown(2)


def test_testing() -> None:
    """
    queue.testMode.enter();
    queue.testMode.clear();
    queue.testMode.exit()
      expect(queue.testMode.jobs.length).to.equal(2);
      expect(queue.testMode.jobs[0].type).to.equal('myJob');
      expect(queue.testMode.jobs[0].data).to.eql({ foo: 'bar' });
    """
    queue = kue.create_queue("redis://127.0.0.1:1")
    queue.test_mode.enter()
    queue.create("myJob", {"foo": "bar"}).save()
    queue.create("anotherJob", {"baz": "bip"}).save()
    assert len(queue.test_mode.jobs) == 2
    assert queue.test_mode.jobs[0].type == "myJob"
    assert queue.test_mode.jobs[0].data == {"foo": "bar"}
    queue.test_mode.clear()
    queue.test_mode.exit()
    with collected(queue) as jobs:
        assert jobs == []


def test_testing_with_processing(queue: kue.Queue) -> None:
    """
    queue.testMode.enter(true);
    """
    queue.test_mode.enter(process=True)
    queue.process("myJob", lambda job: "done")
    assert queue.create("myJob", {}).save().wait(WAIT_S) == "done"
    assert len(queue.test_mode.jobs) == 1


def test_the_quoted_lines_are_in_kues_readme() -> None:
    require_node("kue")
    readme = _squeezed((NODE_DIR / "node_modules" / "kue" / "Readme.md").read_text("utf-8"))
    module = sys.modules[__name__]
    quoted = [
        line
        for name, test in vars(module).items()
        if name.startswith("test_") and inspect.isfunction(test)
        for line in (test.__doc__ or "").splitlines()
        if line.strip()
    ]
    assert len(quoted) > 50
    assert [line for line in quoted if _squeezed(line) not in readme] == []


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
