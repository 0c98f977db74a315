"""The monitor inside an application: Flask, Django or another WSGI application, FastAPI, Starlette."""
