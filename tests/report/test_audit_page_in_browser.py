"""The page of an audit in a headless browser: its filters work, and nothing is written to the console."""

import pytest

import visionkit as vk
from tests.helpers.browser import run_in_browser
from visionkit.engine.audit.finding import CheckResult, Finding, ImageRef
from visionkit.engine.audit.run import AuditReport, MadeCheck
from visionkit.engine.audit.subject import read_subject
from visionkit.report.audit_page import write_audit_page

pytestmark = pytest.mark.slow

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
    assert run_in_browser(path, SCRIPT) == {
        "all": 4,
        "kinds": 3,
        "errors": 2,
        "shown": 1,
        "kind": 1,
        "split": 2,
        "name": 1,
        "said": "4 of 4 findings",
    }
