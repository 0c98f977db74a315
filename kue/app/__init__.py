"""The application: settings, Redis, queue, download handler and monitor, assembled and run."""
