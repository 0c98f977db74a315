"""Jobs, workers and figures in the shape in which they are shown. Pure but for a few reads."""
