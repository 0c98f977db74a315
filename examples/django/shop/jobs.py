"""The queue, its task, and who may see its jobs. `kue worker shop.jobs:queue` works on them."""

from __future__ import annotations

import time
from typing import Any

import kue

#: It finds its Redis as every program of kue does: REDIS_URL, for example.
queue = kue.create_queue()


@queue.task(name="invoice")
def invoice(job: kue.Job, user: str) -> dict[str, Any]:
    """Runs in the worker process."""
    for step in range(20):
        job.progress(step, 20)
        time.sleep(0.1)
    return {"for": user}


def authorize(request: Any) -> Any:
    """Say what the visitor may do with jobs; ``request`` is Django's."""
    from django.shortcuts import redirect  # the worker needs no Django

    user = request.user
    if not user.is_authenticated:
        return redirect(f"/login/?next={request.path}")
    role = "write" if user.is_superuser else "read" if user.is_staff else None
    return role and (role, user.get_username())
