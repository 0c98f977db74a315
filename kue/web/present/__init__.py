"""Jobs, workers and statistics as shown on pages. Mostly pure."""
