"""Web and worker processes over a Cluster of three nodes, of which one is killed and comes back."""

from __future__ import annotations

import pytest

from bench.scaling import lose_a_node


@pytest.mark.long
def test_a_node_of_the_cluster_is_killed_and_no_job_of_eight_queues_is_lost() -> None:
    # Given two web and four worker processes over eight queues on three nodes, all producing and working
    # When the first node is killed in the middle, and started again on its own file
    outcome = lose_a_node(jobs=800, down_s=1.0, limit_s=60)

    # Then every job that was promised is done and recorded, and the pages say the same
    assert outcome.promised >= 800
    assert (outcome.missing, outcome.complete) == (0, outcome.promised)
    assert outcome.webs_agree
