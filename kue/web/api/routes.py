"""The HTTP API as a table, from which `/openapi.json` is generated. Shapes may be TypedDicts of the code."""

from __future__ import annotations

from typing import Any, NamedTuple

from kue.alerts import Alert
from kue.management.limits import Limit
from kue.schedules.definition import MISSED, OVERLAPS
from kue.states import STATES
from kue.web.actions.bulk import STATES_OF, BulkStatus
from kue.web.actions.url_list import UrlListView
from kue.web.live.snapshots import HomeAnswer, StateList
from kue.web.pages.search import SearchAnswer
from kue.web.present.limits_view import READERS, LimitsView
from kue.web.present.schedule_view import ScheduleView
from kue.web.present.webhook_view import WebhookView
from kue.webhooks.definition import FORMATS

#: The shape of a response or a body: a TypedDict, a schema, or one of MEDIA's words.
Shape = Any

TEXT: Shape = {"type": "string"}
NUMBER: Shape = {"type": "integer"}
TEXTS: Shape = {"type": "array", "items": TEXT}
DIGITS: Shape = {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$"}
STATE: Shape = {"enum": list(STATES)}
MEDIA = {"page": "text/html", "file": "application/octet-stream", "figures": "text/plain"}


def either(*shapes: Shape) -> Shape:
    return {"anyOf": list(shapes)}


def many(shape: Shape) -> Shape:
    return {"type": "array", "items": shape}


def members(optional: dict[str, Shape] | None = None, **required: Shape) -> Shape:
    """Return the schema of an object that has these members and no others."""
    made = {"type": "object", "properties": {**required, **(optional or {})}, "additionalProperties": False}
    return {**made, "required": list(required)} if required else made


def part(name: str) -> Shape:
    return {"$ref": f"#/components/schemas/{name}"}


_FLAG = {"type": "boolean"}
_TIMES = ("created_at", "promote_at", "updated_at", "failed_at", "started_at", "duration", "delay", "ttl")
_MS = {"type": "number", "description": "ms"}
_BACKOFF = members({"delay": _MS, "maxDelay": _MS}, type={"enum": ["fixed", "exponential"]})
_UNIQUE = members(
    {
        "key": {},
        "until": {"enum": ["end", "start", "success"]},
        "for_ms": _MS,
        "on_duplicate": {"enum": ["return", "reject", "replace", "extend"]},
    }
)
_OPTIONS: dict[str, Shape] = {
    "priority": either({"type": "number"}, {"enum": ["low", "normal", "medium", "high", "critical"]}),
    "attempts": NUMBER,
    "delay": _MS,
    "ttl": _MS,
    "removeOnComplete": {"type": "boolean"},
    "searchKeys": either(TEXT, TEXTS),
    "backoff": either({"type": "boolean"}, _BACKOFF),
    "unique": either({"type": "boolean"}, _UNIQUE),
}

#: Shapes of Kue's own bodies. Numbers that Node stores as strings are strings.
PARTS: dict[str, Shape] = {
    "Job": {
        "description": "A job. Times are epoch ms, durations ms; members that do not apply are omitted.",
        **members(
            {"result": {}, "progress_data": {}, "error": TEXT, "workerId": TEXT, **dict.fromkeys(_TIMES, DIGITS)},
            id={"anyOf": [NUMBER, TEXT], "description": "A number in lists, a string in /job/{id}, as in Node."},
            type=TEXT,
            data={},
            priority={"type": "number", "description": "Lower runs sooner."},
            progress={"anyOf": [NUMBER, DIGITS], "description": "Percent."},
            state=STATE,
            attempts=members(made=NUMBER, remaining=NUMBER, max=NUMBER),
        ),
    },
    "NewJob": members({"data": {}, "options": members(_OPTIONS)}, type=TEXT),
    "Created": members(message=TEXT, id=NUMBER),
    "Done": members({"id": NUMBER}, message=TEXT),
    "Error": members(error={"type": "string", "description": "What is wrong."}),
}
JOB, NEW_JOB, CREATED, DONE, ERROR = (part(name) for name in PARTS)
NOT_FOUND, BAD, CONFLICT = {404: ERROR}, {400: ERROR}, {409: ERROR}

#: Parameters by name: schema, an example for the tests, description.
PARAMETERS: dict[str, tuple[Shape, Any, str]] = {
    "id": (NUMBER, 1, "of the job"),
    "state": (STATE, "failed", ""),
    "type": (TEXT, "mail", "of the job; in a path, a slash is encoded as %2F"),
    "from": (NUMBER, 0, "first rank or line, from 0"),
    "children": (NUMBER, 1, "1: also the jobs that it waits for"),
    "to": (NUMBER, 9, "last rank, included; -1 is the last job"),
    "order": ({"enum": ["asc", "desc"]}, "asc", ""),
    "priority": (NUMBER, -10, "lower runs sooner"),
    "q": (TEXT, "mail", "words, all of which a job must contain"),
    "act": ({"enum": ["retry", "promote", "remove"]}, "retry", ""),
    "action": (
        {"enum": ["retry", "cancel", "promote", "pause", "resume", "remove", "priority", "copy"]},
        "priority",
        "",
    ),
    "schedule": (TEXT, "nightly", "the name of a schedule"),
    "schedule_action": ({"enum": ["pause", "resume", "run"]}, "pause", ""),
    "webhook": (TEXT, "ops", "the name of a webhook"),
    "webhook_action": ({"enum": ["enable", "disable", "test"]}, "disable", ""),
    "type_action": ({"enum": ["pause", "resume", "concurrency"]}, "pause", ""),
    "bulk": (TEXT, "0123456789abcdef", "the id of a bulk action"),
    "name": (TEXT, "20260101120000-1-x.bin", "of a finished file"),
    "filename": (TEXT, "js/pages/home.js", ""),
    "after": (TEXT, "1", "start after this job, if it is still in the list"),
    "before": (TEXT, "1", "end before this job"),
    "also": (TEXT, "1,2", "ids of finished jobs to include"),
    "part": ({"enum": ["all", "key"]}, "key", "only the limit of the whole type, or only the limit by key"),
    "next": (TEXT, "/", "path to redirect to"),
}


class Route(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    summary: str
    answers: dict[int, Shape]
    query: str = ""
    """Names of query parameters."""
    body: Shape = None
    """Of the JSON that is sent."""


_DURATION = {"anyOf": [_MS, TEXT], "description": "ms, or a string such as 5m."}
_DATE = {"anyOf": [NUMBER, TEXT], "description": "Epoch ms, or ISO 8601 (default: the schedule's time zone)."}
_SCHEDULE = members(
    {
        "data": {"description": "Of the job. Default: that of the existing schedule, if it has the same type."},
        "options": members(_OPTIONS),
        "cron": {"type": "string", "description": "Five fields, or six with seconds first."},
        "timezone": TEXT,
        "every": _DURATION,
        "at": _DATE,
        "start": _DATE,
        "end": _DATE,
        "limit": NUMBER,
        "jitter": _DURATION,
        "overlap": {"enum": list(OVERLAPS)},
        "missed": {"enum": list(MISSED)},
    },
    name=TEXT,
    type=TEXT,
)
_RANGES = ("{from}..{to}", "{from}..{to}/{order}")
_LIST_QUERY = "type order from after before"
_LINES = members(**{"from": NUMBER, "lines": TEXTS, "more": {"type": "boolean"}})
_STATS = members(**{f"{state}Count": NUMBER for state in STATES}, workTime=either(NUMBER, {"type": "null"}))
_TOTAL = members(total=NUMBER)
_LIMITS = members(dict.fromkeys(READERS, TEXT))
_LIMIT = members(
    {"rate": TEXT, "burst": NUMBER, "concurrency": NUMBER, "by": TEXT, "weight": {"type": "object"}}, type=TEXT
)
_HEALTH = members(status={"enum": ["ok"]}, redis_ms={"type": "number"})
_BULK = members({"type": TEXT, "state": STATE, "q": TEXT, "ids": many(NUMBER)}, act={"enum": list(STATES_OF)})
_CLIENTS = ("/socket.io/socket.io.js", "/socket.io/socket.io.min.js")
_WEBHOOK = members(
    {"name": TEXT, "types": TEXTS, "format": {"enum": list(FORMATS)}}, url=TEXT, events=TEXTS, secret=TEXT
)
_PAGES = ("/{state} " + _LIST_QUERY, "/search q from", "/files", "/system", "/overview", "/login next", "/")

ROUTES = (
    Route("get", "/stats", "Number of jobs by state, and the total run time of completed jobs, ms.", {200: _STATS}),
    Route("get", "/job/types", "All types ever saved.", {200: TEXTS}),
    Route("get", "/job/search", "Ids of the jobs that the search index finds.", {200: TEXTS}, "q"),
    Route("get", "/job/{id}", "One job: JSON, or HTML if the client prefers it.", {200: JOB, **NOT_FOUND}),
    Route("get", "/job/{id}/log", "Its log, oldest line first.", {200: TEXTS}),
    *(
        Route("get", f"/jobs/{of}{ranks}", "Jobs by rank.", {200: many(JOB), **BAD})
        for of in ("", "{state}/", "{type}/{state}/")
        for ranks in _RANGES
    ),
    Route("get", "/jobs/{type}/{state}/stats", "Jobs of a type in a state.", {200: members(count=NUMBER)}),
    Route(
        "post",
        "/job",
        "Create a job, or each valid one of an array; invalid ones get an error in their place.",
        {
            200: either(CREATED, many(CREATED)),
            400: either(ERROR, many(either(CREATED, ERROR))),
            413: ERROR,
            415: ERROR,
        },
        body=either(NEW_JOB, many(NEW_JOB)),
    ),
    Route("put", "/job/{id}/state/{state}", "Move a job to a state.", {200: DONE, **BAD, **NOT_FOUND}),
    Route("put", "/job/{id}/priority/{priority}", "Change its priority.", {200: DONE, **BAD, **NOT_FOUND}),
    Route(
        "delete",
        "/job/{id}",
        "Remove a job; with `children=1` also the jobs that it waits for.",
        {200: DONE, **NOT_FOUND},
        "children",
    ),
    Route(
        "get", "/schedules", "Schedules, the next to fire first: JSON, or HTML if preferred.", {200: list[ScheduleView]}
    ),
    Route(
        "post", "/schedules", "Create a schedule, or replace the one of that name.", {200: ScheduleView, **BAD},
        body=_SCHEDULE,
    ),
    Route(
        "post",
        "/schedules/preview",
        "The next ten times of a schedule, epoch ms, without saving it.",
        {200: members(upcoming=many(NUMBER)), **BAD},
        body=_SCHEDULE,
    ),
    Route("get", "/schedules/{schedule}", "One schedule.", {200: ScheduleView, **NOT_FOUND}),
    Route("delete", "/schedules/{schedule}", "Remove a schedule; its jobs stay.", {200: DONE, **NOT_FOUND}),
    Route(
        "post",
        "/schedules/{schedule}/{schedule_action}",
        "Pause or resume a schedule, or create its job now.",
        {200: DONE, **NOT_FOUND, **CONFLICT},
    ),
    Route("get", "/alerts", "Active alerts, the oldest first: JSON, or HTML if preferred.", {200: list[Alert]}),
    Route("get", "/webhooks", "Webhooks by name: JSON, or HTML if preferred.", {200: list[WebhookView]}),
    Route(
        "post",
        "/webhooks",
        "Create a webhook, or replace the one of that name. Its secret is sent in the request, and never shown.",
        {200: WebhookView, **BAD},
        body=_WEBHOOK,
    ),
    Route("get", "/webhooks/{webhook}", "One webhook.", {200: WebhookView, **NOT_FOUND}),
    Route("delete", "/webhooks/{webhook}", "Remove a webhook.", {200: DONE, **NOT_FOUND}),
    Route(
        "post",
        "/webhooks/{webhook}/{webhook_action}",
        "Enable or disable a webhook, or send it a test message.",
        {200: DONE, **BAD, **NOT_FOUND, **CONFLICT},
    ),
    # What the pages use
    Route("get", "/monitor/home", "The lists of the home page.", {200: HomeAnswer}, "also"),
    Route("get", "/monitor/list/{state}", "A page of a list.", {200: StateList, **BAD}, _LIST_QUERY),
    Route("get", "/monitor/search", "Jobs that contain all words.", {200: SearchAnswer}, "q from"),
    Route("get", "/monitor/job/{id}", "The dynamic part of a job's page.", {200: "page", **NOT_FOUND}),
    Route("get", "/monitor/job/{id}/log", "Log lines, starting at a number.", {200: _LINES}, "from"),
    Route(
        "post",
        "/monitor/job/{id}/{action}",
        "Run an action on a job. `priority` needs a priority; `copy` runs it as a new job, optionally with other data.",
        {200: DONE, **BAD, **NOT_FOUND, **CONFLICT},
        body={"type": "object"},
    ),
    Route(
        "get",
        "/monitor/bulk/preview",
        "Number of jobs that a bulk action would affect.",
        {200: _TOTAL, **BAD},
        "state type q act",
    ),
    Route(
        "post",
        "/monitor/bulk",
        "Run an action on all jobs of a list (`state`, `type`) or search (`q`), or on `ids`; it can be undone for 5 s.",
        {200: BulkStatus, **BAD, **CONFLICT},
        body=_BULK,
    ),
    Route("get", "/monitor/bulk/{bulk}", "Progress of a bulk action.", {200: BulkStatus, **NOT_FOUND}),
    Route(
        "delete",
        "/monitor/bulk/{bulk}",
        "Undo a bulk action before it starts, or stop it.",
        {200: BulkStatus, **NOT_FOUND},
    ),
    Route("get", "/limits", "Limits of types across all workers.", {200: list[Limit]}),
    Route(
        "post",
        "/limits",
        "Limit a type, or with `by` each of its keys. Replaces the previous limit; takes effect immediately.",
        {200: list[Limit], **BAD},
        body=_LIMIT,
    ),
    Route("delete", "/limits", "Remove the limits of a type.", {200: list[Limit], **BAD, **NOT_FOUND}, "type part"),
    Route("get", "/monitor/overview", "The dynamic part of the overview.", {200: "page"}),
    Route("get", "/monitor/schedules", "The dynamic part of the Schedules page.", {200: "page"}),
    Route("get", "/monitor/alerts", "The dynamic part of the Alerts page.", {200: "page"}),
    Route("get", "/monitor/system", "The dynamic part of the system page.", {200: "page"}),
    Route(
        "post",
        "/monitor/type/{type_action}",
        "Pause or resume a type for all workers, or set the concurrency of one worker (or of this process) for it.",
        {200: DONE, **BAD, **NOT_FOUND},
        body=members({"count": NUMBER, "worker": TEXT}, type=TEXT),
    ),
    Route("get", "/monitor/downloads/limits", "Download limits.", {200: LimitsView}),
    Route("post", "/monitor/downloads/limits", "Change download limits.", {200: LimitsView, **BAD}, body=_LIMITS),
    Route(
        "post",
        "/monitor/downloads/list",
        "Check a list of URLs, one per line, or start a download for each, optionally with a job that archives them.",
        {200: UrlListView, **BAD},
        body=members({"options": {"type": "object"}, "start": _FLAG, "archive": _FLAG}, text=TEXT),
    ),
    Route("get", "/files/{name}", "A finished file, or a range of it.", {200: "file", 206: "file", 404: "page"}),
    Route("delete", "/files/{name}", "Delete a finished file.", {200: DONE, 404: "page", **CONFLICT}),
    # This process
    Route("get", "/healthz", "Whether this process and its Redis respond.", {200: _HEALTH, 503: ERROR}),
    Route("get", "/metrics", "Prometheus metrics.", {200: "figures"}),
    Route("get", "/openapi.json", "This document.", {200: {"type": "object"}}),
    *(Route("get", page.partition(" ")[0], "A page.", {200: "page"}, page.partition(" ")[2]) for page in _PAGES),
    Route("post", "/login", "Log in by a form with user, password and next.", {303: "page", 401: "page", 429: "page"}),
    Route("post", "/logout", "Log out.", {303: "page"}),
    Route("get", "/sample/10mb.bin", "The built-in sample file.", {200: "file", 206: "file"}),
    Route("get", "/static/{filename}", "Scripts and stylesheets.", {200: "file", 404: "page"}),
    *(Route("get", path, "The pages' Socket.IO client as a classic script.", {200: "file"}) for path in _CLIENTS),
)

#: Paths that need no login.
OPEN = frozenset({"/login", "/healthz", "/sample/10mb.bin", "/static/{filename}", *_CLIENTS})
