"""Programs import without collecting garbage, and collect it from then on."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from kue.process.startup import lasting_imports
from tests.support import ROOT, free_port
from tests.support.programs import environment

#: Runs app.py up to where it would serve, and says whether it collects garbage, its imports aside.
PROGRAM = """
import gc, runpy, sys
from kue.app.monitor_process import MonitorServer
MonitorServer.run = lambda self, *app: print(gc.isenabled(), gc.get_freeze_count() > 10_000)
runpy.run_path(sys.argv.pop(), run_name="__main__")
"""


def test_garbage_is_collected_again_after_imports_that_failed_too() -> None:
    frozen = gc.get_freeze_count()
    try:
        with lasting_imports():
            assert not gc.isenabled()
            raise ImportError
    except ImportError:
        assert gc.isenabled() and gc.get_freeze_count() > frozen


def test_the_app_collects_garbage_but_not_in_its_imports(redis_url: str, tmp_path: Path) -> None:
    own = {"KUE_GREEN": "0", "KUE_WORKERS": "0", "REDIS_URL": redis_url, "PORT": str(free_port())}
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "app.py")],
        cwd=tmp_path, env=environment(own), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (told.returncode, told.stdout) == (0, "True True\n"), told.stderr
