"""A Flask application with users of its own and the job monitor at /jobs. README.md says how to start it."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, redirect, render_template_string, request, session, url_for
from flask.typing import ResponseReturnValue

import kue
import kue.web

#: Name, password, and what the user may do with jobs. A real application keeps users, with hashed passwords, elsewhere.
USERS = {"ada": ("enigma", "write"), "eve": ("enigma", "read"), "bob": ("enigma", None)}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Reports</title></head><body><main><h1>Reports</h1>
{% if session.user %}
<p>Hello {{ session.user }}. <a href="{{ url_for('kue') }}">Jobs</a></p>
<form method="post" action="{{ url_for('create') }}"><button>Create a report</button></form>
<form method="post" action="{{ url_for('log_out') }}"><button>Log out</button></form>
{% else %}
<form method="post" action="{{ url_for('log_in', next=request.args.next) }}">
<label>User <input name="user" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Log in</button></form>
{% endif %}
</main></body></html>"""

app = Flask(__name__)
app.secret_key = "change me"
#: It finds its Redis as every program of kue does: REDIS_URL, for example.
queue = kue.create_queue()


@queue.task(name="report")
def report(job: kue.Job, user: str) -> dict[str, Any]:
    """Runs in the worker process."""
    for step in range(20):
        job.progress(step, 20)
        time.sleep(0.1)
    return {"for": user}


def authorize(request: Any) -> Any:
    """Say what the visitor may do with jobs. Everything that works in a view works here."""
    user = session.get("user")
    if user is None:
        return redirect(url_for("home", next=request.path))
    role = USERS[user][1]
    return role and (role, user)


kue.web.init_app(app, queue, url_prefix="/jobs", authorize=authorize, back=("Reports", "/"))


@app.get("/")
def home() -> str:
    return render_template_string(PAGE)


@app.post("/login")
def log_in() -> ResponseReturnValue:
    user, password = request.form["user"], request.form["password"]
    if user not in USERS or USERS[user][0] != password:
        return "Wrong user or password", 401
    session["user"] = user
    target = request.args.get("next", "")
    return redirect(target if target.startswith("/jobs") else url_for("home"))


@app.post("/logout")
def log_out() -> ResponseReturnValue:
    session.clear()
    return redirect(url_for("home"))


@app.post("/reports")
def create() -> ResponseReturnValue:
    if "user" not in session:
        return "Log in first", 401
    job = report.create(session["user"]).title(f"Report for {session['user']}").save()
    return redirect(f"{url_for('kue')}job/{job.id}")
