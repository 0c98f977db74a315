"""Takes the pictures of the monitor in docs/images: `python -m docs.screenshots`, or `make screenshots`.

It fills an empty Valkey with a believable shop and some downloads, runs the app over it, and opens each page in a
headless Chromium. ``--only job,system`` takes some of them; ``--width``, ``--dark`` and ``--folder`` are for looking at
other sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kue

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
#: Name of the picture, and the page; ``{job}`` and the like are jobs of the data below.
PAGES = {
    "home": "/",
    "overview": "/overview",
    "active": "/active",
    "failed": "/failed",
    "job": "/job/{report}",
    "waiting-job": "/job/{waiting}",
    "failed-job": "/job/{failed}",
    "search": "/search?q=invoice",
    "system": "/system",
    "schedules": "/schedules",
    "alerts": "/alerts",
    "files": "/files",
}
#: Largest picture that belongs into the repository, bytes.
SIZE_MAX = 150_000
#: Seconds until a program or a job must be there.
LIMIT_S = 30.0
FILES = ("debian-13.1.0-amd64-netinst.iso", "planet-europe.osm.pbf", "weather-2026-10.csv", "catalog.pdf")


class Slow(http.server.BaseHTTPRequestHandler):
    """Serves each path as a file of 400 MB, slowly, or of 200 kB at once if the name ends in .csv or .pdf."""

    def do_GET(self) -> None:
        small = self.path.endswith((".csv", ".pdf"))
        size = 200_000 if small else 400_000_000
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(size // 200_000):
                self.wfile.write(bytes(200_000))
                if not small:
                    time.sleep(0.05)

    def do_POST(self) -> None:
        """Receive a webhook; one whose path says so is broken."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if self.path == "/broken" else 204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait(ready: Any, what: str) -> None:
    give_up = time.monotonic() + LIMIT_S
    while not ready():
        if time.monotonic() > give_up:
            raise SystemExit(f"not within {LIMIT_S:g} s: {what}")
        time.sleep(0.1)


@contextlib.contextmanager
def app(folder: Path, file_port: int) -> Iterator[tuple[str, str]]:
    """Run the app over an embedded Valkey of its own; yield the page's address and the Redis URL."""
    port, redis_url = free_port(), f"embedded://{folder / 'data'}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("KUE_", "DOWNLOAD_"))}
    environ |= {
        "PORT": str(port), "REDIS_URL": redis_url, "DOWNLOAD_DIR": str(folder / "downloads"), "KUE_CONCURRENCY": "2",
        "DOWNLOAD_ALLOW": f"127.0.0.1:{file_port}", "PYTHONPATH": str(ROOT), "KUE_WEBHOOK_ALLOW": "127.0.0.1",
        "KUE_ALERT_NO_WORKER": "1s", "KUE_ALERT_DISK_FREE": "off",
    }  # fmt: skip
    with (folder / "app.log").open("wb") as log:
        command = [sys.executable, str(ROOT / "app.py")]
        program = subprocess.Popen(command, env=environ, cwd=folder, stdout=log, stderr=log)

    def answers() -> bool:
        if program.poll() is not None:
            raise SystemExit((folder / "app.log").read_text())
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).status == 200)
        return False

    try:
        wait(answers, "the app answers")
        yield f"http://127.0.0.1:{port}", redis_url
    finally:
        program.send_signal(signal.SIGTERM)
        try:
            program.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def fill(queue: kue.Queue, file_port: int) -> dict[str, int | str | None]:
    """Create jobs of all kinds and run some; return the ids that PAGES names."""
    stay = threading.Event()
    os.environ["KUE_WEBHOOK_ALLOW"] = "127.0.0.1"
    queue.webhook(["failed", "alert"], f"http://127.0.0.1:{file_port}/hooks/kue", name="on-call")
    queue.webhook(["failed"], f"http://127.0.0.1:{file_port}/broken", name="billing", types=["email"])

    @queue.process("email", 4)
    def send(job: kue.Job) -> Any:
        job.log("connected to mail.example.com")
        if "@" not in job.data["to"]:
            raise ValueError(f"not an address: {job.data['to']!r}")
        job.log("sent to %s", job.data["to"])
        return {"sent": True, "message_id": f"<{job.id}@shop.example.com>"}

    @queue.process("report", 2)
    def report(job: kue.Job) -> Any:
        for page in range(1, 8):
            job.log("page %d of 12: %d rows", page, page * 137)
            job.progress(page, 12, {"page": page})
        stay.wait(LIMIT_S * 4)
        return {"pages": 12}

    for number in range(60):
        queue.create("email", {"title": f"Invoice {4100 + number}", "to": f"customer{number}@example.com"}).save()
    bad = queue.create("email", {"title": "Invoice 4170", "to": "customer at example"}, attempts=2).save()
    reports = [
        queue.create("report", {"title": f"Sales of {month} 2026", "month": month}, priority="high").save()
        for month in ("September", "October")
    ]
    for day in ("Monday", "Tuesday", "Wednesday"):
        queue.create("newsletter", {"title": f"Newsletter of {day}", "subscribers": 1204}).save()
    queue.create("email", {"title": "Reminder 311", "to": "ada@example.com"}, delay=3_600_000).save()
    schedule(queue)
    history(queue)
    queue.pause("thumbnail")
    waiting = queue.create("thumbnail", {"title": "Thumbnail of cat.jpg", "size": [320, 200]}).save()
    queue.create("thumbnail", {"title": "Thumbnail of dog.jpg", "size": [320, 200]}).save()
    for name in reversed(FILES):
        queue.create("startdownload", {"title": name, "url": f"http://127.0.0.1:{file_port}/{name}"}).save()
    wait(lambda: queue.get(bad.id or 0).state == "failed", "a job has failed")
    wait(lambda: queue.get(reports[1].id or 0).progress_percent > 50, "a report is under way")
    wait(lambda: queue.complete_count() >= 62, "emails and small downloads are complete")
    wait(lambda: queue.active_count("startdownload") == 2, "two downloads run")
    wait(lambda: queue.alerts() and len(queue.deliveries("on-call")) > 1, "an alert is delivered")
    queue.test_webhook("on-call")
    wait(lambda: len(queue.deliveries("on-call")) > 2, "a test is delivered")
    return {"report": reports[1].id, "waiting": waiting.id, "failed": bad.id}


def history(queue: kue.Queue) -> None:
    """Record a believable hour and day, so that the charts have something to show."""
    chance = random.Random(1)
    for name, length_s, count, scale in (("minutes", 60, 60, 1), ("halves", 1800, 48, 30)):
        now = int(time.time()) // length_s
        for ago in range(1, count):
            busy = scale * (40 + 25 * math.sin(ago / count * 9))
            wait_ms, run_ms = int(chance.uniform(20, 60)), int(chance.uniform(90, 140))
            figures = {
                "complete": int(busy * chance.uniform(0.8, 1.2)), "failed": int(scale * chance.choice((0, 0, 1, 3))),
                "waiting": int(chance.uniform(0, 12)), "wait_mid": wait_ms, "wait_slow": wait_ms * 6, "run_mid": run_ms,
                "run_slow": run_ms * 4,
            }  # fmt: skip
            queue.history.record(name, now - ago, figures)  # type: ignore[arg-type]


def schedule(queue: kue.Queue) -> None:
    """Make schedules of all kinds, and run some."""
    queue.schedule("nightly sales report", "report", {"month": "all"}, cron="0 3 * * *", timezone="Europe/Berlin")
    reminder = {"title": "Reminder to Ada", "to": "ada@example.com"}
    queue.schedule("reminders", "email", reminder, every=timedelta(minutes=15), attempts=3)
    stock = {"title": "Low stock", "to": "stock at example"}
    queue.schedule("stock check", "email", stock, cron="*/5 9-17 * * MON-FRI", overlap="allow")
    queue.schedule("new year's letter", "newsletter", at=datetime(2030, 1, 1, 9, tzinfo=UTC))
    queue.schedule("clean up", "thumbnail", every=timedelta(hours=1))
    queue.pause_schedule("clean up")
    for name in ("reminders", "reminders", "stock check"):
        queue.run_schedule_now(name)


def chromium() -> str:
    for name in (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name) if name else None
        if path is not None:
            return path
    raise SystemExit("Chromium is not installed; CHROMIUM names one")


def take(base: str, ids: dict[str, Any], options: argparse.Namespace) -> None:
    """Open each page and write its picture."""
    from playwright.sync_api import sync_playwright

    wanted = options.only.split(",") if options.only else list(PAGES)
    options.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(
            viewport={"width": options.width, "height": options.height},
            color_scheme="dark" if options.dark else "light",
        )
        for name in wanted:
            page.goto(base + PAGES[name].format(**ids))
            page.wait_for_timeout(1500)  # charts and live rows settle
            path = options.folder / f"{name}.png"
            page.screenshot(path=path)
            size = path.stat().st_size
            print(f"{path.name}: {size // 1000} kB")
            if size > SIZE_MAX:
                print(f"{path.name} is larger than {SIZE_MAX // 1000} kB", file=sys.stderr)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.screenshots", description="Take the pictures of the monitor.")
    parser.add_argument("--only", default="", help=f"some of {','.join(PAGES)}")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=760)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--folder", type=Path, default=IMAGES)
    options = parser.parse_args()
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    files.daemon_threads = True
    threading.Thread(target=files.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name, app(Path(name), files.server_port) as (base, redis_url):
        queue = kue.create_queue(redis_url)
        try:
            take(base, fill(queue, files.server_port), options)
        finally:
            queue.shutdown(0.5)
    files.shutdown()


if __name__ == "__main__":
    main()
