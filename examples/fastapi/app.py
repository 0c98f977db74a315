"""A FastAPI application that creates jobs, waits for results, streams events, and has the job monitor at /jobs.

A worker runs the jobs elsewhere. README.md says how to start both.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection

import kue
import kue.aio
import kue.web

#: Password, and what the user may do with jobs. A real application keeps users, with hashed passwords, elsewhere.
USERS = {"ada": ("enigma", "write"), "eve": ("enigma", "read"), "bob": ("enigma", None)}

#: One for the process. It finds its Redis as ``kue.create_queue()`` does: REDIS_URL, for example.
queue = kue.aio.create_queue()


@queue.task(name="report", concurrency=10, attempts=3)
def report(job: kue.Job, month: str, rows: int = 100) -> dict[str, Any]:
    """Declared here, run by the worker only."""
    for done in range(0, rows, max(1, rows // 4)):
        job.progress(done, rows)
    return {"month": month, "total": sum(range(rows))}


async def authorize(request: HTTPConnection) -> Any:
    """Say what the visitor may do with jobs."""
    user = request.session.get("user")
    if user is None:
        return RedirectResponse(f"/login?next={request.url.path}")
    role = USERS[user][1]
    return role and (role, user)


monitor = kue.web.asgi(queue, authorize=authorize)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with queue:  # closes its connections when the application stops
        yield
        monitor.close()


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, secret_key="change me")
app.mount("/jobs", monitor)

LOGIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in</title></head><body><main><h1>Log in</h1>
<form method="post"><label>User <input name="user" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Log in</button></form></main></body></html>"""


@app.get("/login")
async def login_form() -> HTMLResponse:
    return HTMLResponse(LOGIN)


@app.post("/login")
async def log_in(request: Request, next: str = "/jobs/") -> RedirectResponse:
    form = parse_qs((await request.body()).decode())
    user, password = form.get("user", [""])[0], form.get("password", [""])[0]
    if user not in USERS or USERS[user][0] != password:
        raise HTTPException(401, "wrong user or password")
    request.session["user"] = user
    return RedirectResponse(next if next.startswith("/jobs") else "/jobs/", 303)


class NewReport(BaseModel):
    month: str
    rows: int = 100


@app.post("/reports", status_code=202)
async def create(wanted: NewReport) -> dict[str, Any]:
    job = await report.acreate(wanted.month, wanted.rows)
    return {"id": job.id}


@app.get("/reports/{job_id}")
async def status(job_id: int) -> dict[str, Any]:
    job = await queue.get(job_id)
    return {"state": job.state, "progress": job.progress_percent, "result": job.result, "error": job.error}


@app.get("/reports/{job_id}/result")
async def result(job_id: int, timeout_s: float = 20.0) -> Any:
    job = await queue.get(job_id)
    try:
        return await job.wait(timeout_s)
    except kue.WaitTimeout:
        raise HTTPException(504, "not ready yet; ask again") from None
    except kue.JobFailed as exc:
        raise HTTPException(500, exc.error) from None


@app.get("/counts")
async def counts() -> dict[str, int]:
    return await queue.counts()


@app.get("/events")
async def events() -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        async with queue.events() as heard:
            yield ": connected\n\n"
            async for event in heard:
                yield f"event: {event.event}\ndata: {json.dumps({'id': event.id, 'args': event.args})}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.exception_handler(kue.JobNotFound)
async def not_found(request: Request, exc: kue.JobNotFound) -> JSONResponse:
    return JSONResponse({"detail": str(exc)}, 404)


@app.exception_handler(kue.QueueUnavailable)
async def unavailable(request: Request, exc: kue.QueueUnavailable) -> JSONResponse:
    return JSONResponse({"detail": str(exc)}, 503)
