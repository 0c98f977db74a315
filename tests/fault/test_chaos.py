"""Workers killed and frozen, connections cut, the server killed: nothing is lost, stuck, or done twice.

A short run of ``chaos.py``; longer ones and other seeds by ``python -m tests.fault.chaos``.
"""

from __future__ import annotations

from pathlib import Path

from tests.fault.chaos import Chaos


def test_every_job_is_done_once_however_workers_and_server_die(tmp_path: Path) -> None:
    report = Chaos(tmp_path, seed=20, seconds=12, jobs=900).run()

    assert report.wrong == [], str(report)
    # And it was a run worth the name.
    assert report.counts["kills"] >= 5 and report.counts["freezes"] and report.counts["server restarts"]
    assert report.counts["executions too many"] <= report.counts["attempts cut off"]
