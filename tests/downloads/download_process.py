"""A process that downloads one URL, for tests that kill it.

    python download_process.py FOLDER URL ALLOW SEGMENTS [green]
"""

from __future__ import annotations

import sys
import warnings

if "green" in sys.argv:
    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()

import json  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kue.downloads import DownloadHandler  # noqa: E402
from tests.downloads.hostile import FakeJob  # noqa: E402

if __name__ == "__main__":
    folder, url, allow, segments = sys.argv[1:5]
    handler = DownloadHandler(folder, allow=[allow], min_free=0)
    print(json.dumps(handler(FakeJob(url, 1, **({"segments": int(segments)} if int(segments) else {})))), flush=True)
