"""Which URLs a download accepts, and which addresses it may connect to."""
