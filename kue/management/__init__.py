"""Looking at a queue, and changing it by hand."""
