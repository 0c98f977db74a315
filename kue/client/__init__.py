"""The producer's side: saving jobs, events, waiting for results."""
