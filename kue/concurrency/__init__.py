"""Threads of either kind. Only green.py knows eventlet."""
