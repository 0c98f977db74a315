"""The worker's side of its child processes: pools, handles, supervision."""
