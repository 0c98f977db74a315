"""The program: patch unless KUE_GREEN=0, then run the app. kue/app/serving.py puts it together.

`python app.py --help` lists the settings.

`python -m kue worker app:queue` works on its jobs without serving the page.
"""

import sys
import warnings

# eventlet announces its retirement at import; it is this project's choice all the same (docs/architecture.md).
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

if __name__ == "__main__":  # who imports this file has chosen the kind of threads already
    import gc
    import importlib.util
    import os

    gc.disable()  # until everything is imported; see kue/process/startup.py

    # As kue/cli/green_start.py decides it. That file cannot be imported yet: patching comes first.
    chosen = os.environ.get("KUE_GREEN", "").strip()
    if chosen.lower() not in ("", "1", "true", "yes", "on", "0", "false", "no", "off"):
        sys.exit(f"kue: KUE_GREEN={chosen}: write 1 or 0.")
    if chosen.lower() not in ("0", "false", "no", "off") and (chosen or importlib.util.find_spec("eventlet")):
        os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")  # the system looks names up, in threads of its own
        import eventlet

        eventlet.monkey_patch()  # before anything that imports socket, threading or ssl

import kue  # noqa: E402
from kue.app.serving import serve  # noqa: E402
from kue.app.serving import working_queue as queue  # noqa: E402, F401

if __name__ == "__main__":
    try:
        serve(sys.argv[1:])
    except kue.KueError as exc:
        sys.exit(f"kue: {exc}")
