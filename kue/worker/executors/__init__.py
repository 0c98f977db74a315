"""Executors run attempts: in threads, as asyncio tasks, or in child processes."""
