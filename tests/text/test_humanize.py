"""Python and the page's scripts format sizes, durations and ages identically."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from kue.text.humanize import ago_text, countdown_text, duration_text, ordinal, relative_text, size_text
from tests.support import ROOT, require_node

PYTHON = {
    "bytes": size_text, "duration": duration_text, "countdown": countdown_text, "ago": ago_text,
    "relative": relative_text,
}  # fmt: skip
NUMBERS = [
    0, 1, 7, 42, 94, 95, 99, 400, 950, 999, 1_000, 1_001, 9_940, 9_950, 10_000, 10_499, 59_499, 59_500, 60_000, 61_000,
    90_000, 3_599_499, 3_600_000, 3_661_000, 86_399_000, 86_400_000, 90_000_000, 10**9, 10**10, 10**13,
]  # fmt: skip


def test_the_texts() -> None:
    assert [size_text(n) for n in (0, 999, 1_500, 10_485_760)] == ["0 B", "999 B", "1.5 kB", "10.5 MB"]
    assert [duration_text(n) for n in (40, 800, 12_000, 185_000, 7_440_000)] == [
        "40 ms", "0.8 s", "12 s", "3 min 5 s", "2 h 4 min",
    ]  # fmt: skip
    assert [relative_text(n) for n in (5_000, 61_000, -61_000)] == ["just now", "1 min ago", "in 1 min 1 s"]
    assert [ordinal(n) for n in (1, 2, 3, 11, 1_122)] == ["1st", "2nd", "3rd", "11th", "1,122nd"]


def test_the_scripts_of_the_page_write_the_same() -> None:
    node = require_node()
    numbers = [*NUMBERS, *(-n for n in NUMBERS if n > 999)]
    script = f"""
    import * as format from {json.dumps((ROOT / "static/js/lib/format.js").as_uri())};
    const texts = {{}};
    const numbers = {json.dumps(numbers)};
    for (const name of {json.dumps(list(PYTHON))}) texts[name] = numbers.map((number) => format[name](number));
    console.log(JSON.stringify(texts));
    """
    out = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, timeout=30)
    assert out.returncode == 0, out.stderr
    texts: dict[str, Any] = json.loads(out.stdout)
    for name, function in PYTHON.items():
        wanted = [n for n in numbers if n >= 0 or name == "relative"]
        told = [text for n, text in zip(numbers, texts[name], strict=True) if n >= 0 or name == "relative"]
        assert told == [function(n) for n in wanted], name
