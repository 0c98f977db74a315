"""Downloads beside curl and wget: a file from an nginx on loopback, over HTTP, HTTPS and with each connection limited.

    python -m bench.downloads [--mib 1024] [--rounds 3] [--folder DIR]

Needs nginx and openssl; curl, wget and aria2c are measured if they are there. Each round runs all of them in turn, the
median counts, and only figures of one run can be compared. Our own runs are under eventlet, as in ``app.py``, and say
how long the hub was held up at worst; they compute sha256 and fsync as always, which the others do not. ``no digest``
is the same handler without either: the copying alone, as the others do it. ``curl + digest`` is the other way round:
what somebody does in a shell who wants to know the digest, too. ``server`` is the CPU time of nginx: with it and
all programs on the same cores, no download can be faster than cores / (CPU + server) GiB a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = "20m"

WORKER = """
import sys, warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
import json, os, resource, threading, time
sys.path.insert(0, sys.argv[1])
folder, url, ca, segments, bare = sys.argv[2:7]
from kue.downloads import DownloadHandler
from kue.downloads.files import digests as hashing
if bare == "bare":
    hashing.Hasher._run = lambda self, until: setattr(self, "_position", until)
    os.fsync = os.fdatasync = lambda fd: None
class Job:
    id, data = 1, {"title": "bench", "url": url}
    def log(self, *args): pass
    def progress(self, *args): pass
if int(segments):
    Job.data["segments"] = int(segments)
worst, stop = [0.0, []], []
def pulse():
    last = time.monotonic()
    while not stop:
        time.sleep(0.001)
        now = time.monotonic()
        worst[1].append(now - last)
        last = now
handler = DownloadHandler(folder, allow=["127.0.0.1"], min_free=0, verify=ca or True)
thread = threading.Thread(target=pulse)
thread.start()
began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
result = handler(Job())
seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
stop.append(1)
thread.join()
stalls = sorted(worst[1]) or [0.0]
print(json.dumps({"bytes": result["bytes"], "seconds": seconds, "rss_mib": after.ru_maxrss / 1024,
    "cpu": after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime,
    "stall_p99_ms": stalls[int(len(stalls) * .99)] * 1000, "stall_max_ms": stalls[-1] * 1000}))
"""

CONFIG = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl;
    ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
    root {dir}/www;
    location /limited/ {{ alias {dir}/www/; limit_rate {limit}; }}
  }}
}}
"""


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def nginx(place: Path) -> Iterator[tuple[int, int, Callable[[], float]]]:
    """Run an nginx of our own; yield its plain port, its TLS port, and a function that returns its CPU seconds."""
    plain, tls = free_port(), free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-keyout", str(place / "key.pem"), "-out", str(place / "cert.pem")],
        check=True,
        capture_output=True,
    )
    (place / "nginx.conf").write_text(CONFIG.format(dir=place, plain=plain, tls=tls, limit=LIMIT))
    server = subprocess.Popen(["nginx", "-c", str(place / "nginx.conf"), "-p", str(place)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", plain), timeout=1):
                break
            time.sleep(0.05)
        workers = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        yield plain, tls, lambda: sum(map(cpu_seconds, workers))
    finally:
        server.terminate()
        server.wait(10)


def cpu_seconds(pid: str) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_tool(command: list[str]) -> dict[str, float]:
    """Run a program to its end; return seconds and CPU seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def run_ours(out: Path, url: str, ca: str, segments: int, kind: str) -> dict[str, float]:
    """Run our handler in a process of its own; return what it measured."""
    command = [sys.executable, "-c", WORKER, str(ROOT), str(out), url, ca, str(segments), kind]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def candidates(url: str, ca: str, out: Path, limited: bool) -> dict[str, Callable[[], dict[str, float]]]:
    """Return what to run for one URL, by name."""
    curl = ["curl", "-sf", "-o", str(out / "curl"), *(["--cacert", ca] if ca else []), url]
    wget = ["wget", "-q", "-O", str(out / "wget"), *([f"--ca-certificate={ca}"] if ca else []), url]
    aria = ["aria2c", "-q", "-d", str(out), "-o", "aria2", "--allow-overwrite=true", "--file-allocation=none"]
    aria += [f"--ca-certificate={ca}"] if ca else []
    runs: dict[str, Callable[[], dict[str, float]]] = {"kue": lambda: run_ours(out, url, ca, 0, "full")}
    if limited:
        runs["kue, 1 segment"] = lambda: run_ours(out, url, ca, 1, "full")
        runs["kue, 4 segments"] = lambda: run_ours(out, url, ca, 4, "full")
    else:
        runs["kue, no digest"] = lambda: run_ours(out, url, ca, 0, "bare")
    if shutil.which("curl"):
        runs["curl"] = lambda: run_tool(curl)
        runs["curl + digest"] = lambda: run_tool(
            ["sh", "-ec", '"$@"; sync "$0"; openssl dgst -sha256 "$0"', str(out / "curl"), *curl]
        )
    if shutil.which("wget"):
        runs["wget"] = lambda: run_tool(wget)
    if shutil.which("aria2c"):
        for count in ("1", "4"):
            runs[f"aria2c -x{count}"] = lambda count=count: run_tool([*aria, f"-x{count}", f"-s{count}", url])  # type: ignore[misc]
    return runs


def main() -> None:
    """Measure and print a table for each kind of server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file, MiB (the limited one: half)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to put server and files; needs four times --mib"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        place = Path(name)
        place.chmod(0o755)
        for folder in ("www", "out"):
            (place / folder).mkdir()
        block = os.urandom(1 << 20)
        for file, mib in (("file.bin", args.mib), ("half.bin", max(1, args.mib // 2))):
            with (place / "www" / file).open("wb") as out:
                for _ in range(mib):
                    out.write(block)
        with nginx(place) as (plain, tls, server_cpu):
            ca = str(place / "cert.pem")
            kinds = [
                ("HTTP", f"http://127.0.0.1:{plain}/file.bin", "", False),
                ("HTTPS", f"https://127.0.0.1:{tls}/file.bin", ca, False),
                (f"HTTP, {LIMIT}B/s a connection", f"http://127.0.0.1:{plain}/limited/half.bin", "", True),
            ]
            for title, url, authority, limited in kinds:
                mib = max(1, args.mib // 2) if limited else args.mib
                measured: dict[str, list[dict[str, float]]] = {}
                for _ in range(1 if limited else args.rounds):
                    for who, run in candidates(url, authority, place / "out", limited).items():
                        before = server_cpu()
                        measured.setdefault(who, []).append({**run(), "server": server_cpu() - before})
                        for path in (place / "out").iterdir():
                            path.unlink()
                report(title, mib, measured)


def report(title: str, mib: int, measured: dict[str, list[dict[str, float]]]) -> None:
    """Print one table."""
    print(f"\n{title}, {mib} MiB, median of {max(len(runs) for runs in measured.values())}")
    print(f"{'':18}{'MB/s':>8}{'CPU s/GiB':>11}{'server':>8}{'stall p99':>11}{'max ms':>8}{'RSS MiB':>9}")
    for who, runs in measured.items():

        def median(key: str, runs: list[dict[str, float]] = runs) -> float:
            return statistics.median(run[key] for run in runs)

        row = f"{who:18}{mib * 1.048576 / median('seconds'):8.0f}{median('cpu') * 1024 / mib:11.2f}"
        row += f"{median('server') * 1024 / mib:8.2f}"
        if "stall_max_ms" in runs[0]:
            row += f"{median('stall_p99_ms'):11.1f}{median('stall_max_ms'):8.1f}{median('rss_mib'):9.0f}"
        print(row)


if __name__ == "__main__":
    main()
