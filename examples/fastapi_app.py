"""A FastAPI application that creates jobs, waits for results, and streams events. A worker runs the jobs elsewhere.

    pip install fastapi uvicorn
    uvicorn fastapi_app:app
    kue worker fastapi_app:queue -p 2

    curl localhost:8000/reports -H 'Content-Type: application/json' -d '{"month": "2026-11", "rows": 1000}'
    curl localhost:8000/reports/1
    curl localhost:8000/reports/1/result
    curl -N localhost:8000/events
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

import kue
import kue.aio

#: One for the process. It finds its Redis as ``kue.create_queue()`` does: REDIS_URL, for example.
queue = kue.aio.create_queue()


@queue.task(name="report", concurrency=10, attempts=3)
def report(job: kue.Job, month: str, rows: int = 100) -> dict[str, Any]:
    """Declared here, run by the worker only."""
    for done in range(0, rows, max(1, rows // 4)):
        job.progress(done, rows)
    return {"month": month, "total": sum(range(rows))}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with queue:  # closes its connections when the application stops
        yield


app = FastAPI(lifespan=lifespan)


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
