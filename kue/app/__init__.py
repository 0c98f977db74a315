"""The app itself: settings, Redis, queue, download handler and page, put together and run."""
