"""Workers killed and frozen, connections cut, the server killed: nothing is lost, stuck, or done twice.

A short run of ``run.py``; longer ones and other seeds by ``python -m tests.fault.chaos.run``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.chaos.run import Chaos
from tests.support import require_node


@pytest.mark.long
def test_every_job_is_done_once_however_workers_and_server_die(tmp_path: Path) -> None:
    report = Chaos(tmp_path, seed=20, seconds=9, jobs=700, schedules=20, limits=50, flows=12).run()

    assert report.wrong == [], str(report)
    # And it was a run worth the name.
    assert report.counts["kills"] >= 3 and report.counts["freezes"] and report.counts["server restarts"]
    assert report.counts["executions too many"] <= report.counts["attempts cut off"]
    assert report.counts["scheduled jobs"] >= 20 * 9
    assert report.counts["parents"] >= 40 and report.counts["keys"] >= 30 and report.counts["page at once"] >= 2


@pytest.mark.long
def test_every_job_is_done_once_with_node_kue_in_the_mix(tmp_path: Path) -> None:
    require_node("kue")
    report = Chaos(tmp_path, seed=20, seconds=6, jobs=350, node=True).run()

    assert report.wrong == [], str(report)
    assert report.counts["kills"] >= 1 and report.counts["connections cut"]
