"""Threads, OS or green. Only green.py depends on eventlet."""
