"""No job waits while a slot is free: a short run; longer ones by ``python -m tests.fault.waiting_jobs``."""

from __future__ import annotations

import pytest

from tests.fault.waiting_jobs import Waits


@pytest.mark.serial
def test_no_job_waits_while_a_slot_is_free(redis_url: str) -> None:
    run = Waits(redis_url, seed=11, waits=1500, limit_s=0.6).run()
    assert run.late == [], str(run)
    # And it was a run worth the name.
    assert min(run.counts[name] for name in ("workers", "cancel", "concurrency", "pause", "pause everywhere")) > 0
