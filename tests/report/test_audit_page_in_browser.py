"""The page of an audit in a headless browser: its filters work, and nothing is written to the console."""

import json
import shutil
import subprocess

import pytest

import visionkit as vk
from tests.helpers.html_page import parse
from visionkit.engine.audit.finding import CheckResult, Finding, ImageRef
from visionkit.engine.audit.run import AuditReport, MadeCheck
from visionkit.engine.audit.subject import read_subject
from visionkit.report.audit_page import write_audit_page

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCRIPT = """
const change = (id, value) => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event("input", {bubbles: true}));
};
const isVisible = (one) => one.getClientRects().length > 0;
const visible = (selector) => [...document.querySelectorAll(selector)].filter(isVisible).length;
const found = {all: visible(".finding"), kinds: visible(".kind")};
change("severity", "error"); found.errors = visible(".finding"); found.shown = visible(".kind"); change("severity", "");
change("kind", "second"); found.kind = visible(".finding"); change("kind", "");
change("split", "val"); found.split = visible(".finding"); change("split", "");
change("name", "5"); found.name = visible(".finding"); change("name", "");
found.said = document.getElementById("count").value;
document.title = JSON.stringify(found);
"""


def test_filters(tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium")
    splits = {split: {"split": split, "count": 6, "size": 96} for split in ("train", "val")}
    data = vk.VisionData("shapes", splits=splits, num_workers=0)
    findings = [
        Finding("first", "error", "a", (ImageRef("train", 1),), (ImageRef("val", 2),)),
        Finding("first", "error", "b", (ImageRef("train", 5),)),
        Finding("second", "warning", "c", (ImageRef("val", 0),)),
        Finding("third", "note", "about no image"),
    ]
    report = AuditReport(read_subject(data), [MadeCheck("check", CheckResult("measured", findings), 1.0)])
    path = tmp_path / "audit.html"
    write_audit_page(report, data, path, "shapes")
    path.write_text(path.read_text().replace("</body>", f"<script>{SCRIPT}</script></body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command = [browser, *flags, f"--user-data-dir={tmp_path}/user", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, check=False, timeout=120)
    assert "CONSOLE" not in done.stderr
    assert json.loads(parse(done.stdout).find("head")[0].find("title")[0].text) == {
        "all": 4,
        "kinds": 3,
        "errors": 2,
        "shown": 1,
        "kind": 1,
        "split": 2,
        "name": 1,
        "said": "4 of 4 findings",
    }
