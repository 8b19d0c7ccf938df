"""What a test can know of a page: its elements, its figures, its text, and what a browser makes of it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.processes import PATIENCE


class Tags(HTMLParser):
    """Counts elements and gathers what could reach outside."""

    def __init__(self, text):
        super().__init__()
        self.count, self.reaching = {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.reaching += [
            (tag, k, v) for k, v in attrs if k in ("src", "href", "srcset", "action") or k.startswith("on")
        ]


def drawn(page):
    return json.loads(page.split('<script type="application/json" id="figures">')[1].split("</script>")[0])


def text_of(page):
    """The page without Plotly's own script and without figures."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def in_browser(page: Path, width: int, height: int) -> str:
    """The page as it stands after its scripts have run, in a window of so many pixels; nothing on the console."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium on this machine")
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *("--virtual-time-budget=8000", f"--window-size={width},{height}"),
            *(f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    return done.stdout
