"""Pages in a headless browser."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.html_page import parse

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=5000")


def run_in_browser(path: Path, script: str) -> Any:
    """Run a script at the end of a page, and return the JSON that it writes to the title of the document.

    The page is overwritten. It is an error if something is written to the console.
    Without Chromium the test is skipped.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium")
    path.write_text(path.read_text().replace("</body>", f"<script>{script}</script></body>"))
    command = [browser, *FLAGS, f"--user-data-dir={path.parent}/user", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr[-2000:]
    return json.loads(parse(done.stdout).find("head")[0].find("title")[0].text)
