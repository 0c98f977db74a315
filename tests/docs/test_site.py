"""The whole documentation: its links work, and its generated parts are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kue
import kue.downloads
from docs.generate import PART, renewed
from kue.alerts.evaluation import Alerts
from kue.client.events import Event
from kue.client.saving import Saving
from kue.errors import KueError
from kue.management.limits import Limits
from kue.management.monitor_sessions import MonitorSessions
from kue.management.operations import Operations
from kue.management.queries import Queries
from kue.management.statistics import Statistics
from kue.schedules.declared import DeclaredSchedules
from kue.schedules.store import Schedules
from kue.states import EVENTS
from kue.storage.keys import Keys
from kue.web.api.routes import ROUTES
from kue.web.live.relay import plain_event
from kue.webhooks.store import Webhooks
from tests.support import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
#: Whose methods a queue has as its own.
PARTS = (
    Saving, Queries, Statistics, Operations, MonitorSessions, Limits, Schedules, DeclaredSchedules, Webhooks, Alerts,
)  # fmt: skip


def label(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as Markdown programs make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if PART.search(page.read_text("utf-8"))], ids=label)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")
    assert renewed(text) == text, "run: make reference"


def test_every_page_is_in_the_navigation() -> None:
    yaml = pytest.importorskip("yaml")
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(nav)))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def test_every_public_name_is_in_the_python_reference() -> None:
    text = (DOCS / "reference" / "python-api.md").read_text("utf-8")
    errors = {name for name in kue.__all__ if isinstance(kind := getattr(kue, name), type)
              and kind.__module__ == KueError.__module__}  # fmt: skip
    assert all(f"kue.{name}" in text for name in set(kue.__all__) - errors)
    downloads = (set(kue.downloads.__all__)) - {"ATTEMPTS", "BACKOFF"}
    assert all(name in text for name in downloads)


def test_every_method_of_a_queue_is_in_the_python_reference() -> None:
    text = (DOCS / "reference" / "python-api.md").read_text("utf-8")
    shown = {name for part in (kue.Queue, *PARTS) for name in vars(part) if not name.startswith("_")}
    assert all(f"{part.__module__}.{part.__qualname__}" in text for part in PARTS)
    assert {name for name in dir(kue.Queue) if not name.startswith("_")} <= shown
    taken_over = {name for name, method in vars(kue.Queue).items() if hasattr(method, "__wrapped__")}
    assert taken_over <= {name for part in PARTS for name in vars(part)}


def test_every_key_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "redis-keys.md").read_text("utf-8")
    keys = Keys("q")
    plain = {value for name, value in vars(keys).items() if name != "prefix"}
    assert [key for key in plain if f"`{key}`" not in text] == []
    made = [keys.history("minutes"), keys.secret("session"), keys.schedule("NAME")]
    made += [keys.webhook("NAME"), keys.deliveries("NAME")]
    made += [name("") for name in (keys.bulk, keys.commands, keys.wake, keys.lane)]
    assert [key for key in made if key not in text] == []


def test_every_event_of_a_plain_client_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "socketio.md").read_text("utf-8")
    told = {name for name in EVENTS if plain_event(Event(1, name, [None, None])) is not None}
    assert {name for name in told if f"| `{name}` |" not in text} == set()


def test_the_codes_of_refused_starts_are_in_the_reference() -> None:
    text = (DOCS / "reference" / "errors.md").read_text("utf-8")
    sources = [ROOT / "kue" / "web" / "live" / name for name in ("start_event.py", "socket_events.py")]
    found = {
        code
        for source in sources
        for pair in re.findall(r'Refused\("(\w+)"|"code": "(\w+)"', source.read_text("utf-8"))
        for code in pair
        if code
    }
    assert len(found) > 5
    assert {code for code in found if f"| `{code}` |" not in text} == set()


def test_the_paths_of_the_api_that_pages_name_exist() -> None:
    known = [re.compile(re.sub(r"\{\w+\}", "[^/]+", route.path)) for route in ROUTES]
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"`(?:GET|POST|PUT|DELETE) (/monitor/[\w/]+)`", text))
    assert named
    assert {path for path in named if not any(pattern.fullmatch(path) for pattern in known)} == set()


def test_pictures_are_small() -> None:
    pictures = [*(DOCS / "images").glob("*.png"), *(DOCS / "images").glob("*.webp")]
    assert pictures
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []


def test_pages_name_no_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/(work|root|home/\w+)/|--index-url|localhost:\d+/simple", page.read_text("utf-8")), page


def test_every_logger_is_in_the_guide() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "kue").rglob("*.py"))
    guide = (DOCS / "guides" / "monitoring" / "logging.md").read_text("utf-8")
    named = set(re.findall(r'getLogger\("(kue[\w.]*)"', code)) - {"kue.web.socketio", "kue.web.engineio"}
    assert named and {name for name in named if f"`{name}`" not in guide} == set()


@pytest.mark.parametrize("page", [DOCS / "architecture.md", ROOT / "CONTRIBUTING.md"], ids=label)
def test_the_map_names_files_that_exist(page: Path) -> None:
    # A name may be short, such as `attempt.py` or `files/partial.py`.
    named = set(re.findall(r"`([\w/.-]+\.(?:py|lua|js|html|md))`", page.read_text("utf-8")))
    folders = ("kue", "docs", "static", "templates", "bench")
    files = [f"/{path.relative_to(ROOT).as_posix()}" for name in folders for path in (ROOT / name).rglob("*.*")]
    missing = {name for name in named if not (ROOT / name).exists() and not any(f.endswith(f"/{name}") for f in files)}
    assert len(named) > 5
    assert {name for name in missing if "NAME" not in name} == set()
