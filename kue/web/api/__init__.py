"""Node Kue's JSON API, the description of all paths, health and metrics."""
