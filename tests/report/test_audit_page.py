import base64
import re

import pytest

import visionkit as vk
from tests.helpers.html_page import parse
from visionkit.engine.audit.finding import CheckResult, Finding, ImageRef
from visionkit.engine.audit.run import AuditReport, MadeCheck
from visionkit.engine.audit.subject import read_subject
from visionkit.report.audit_page import SHOWN, write_audit_page

SPLITS = {split: {"split": split, "count": 6, "size": 96, "empty_share": 0.0} for split in ("train", "val")}


def page_of(findings, tmp_path):
    data = vk.VisionData("shapes", splits=SPLITS, num_workers=0)
    report = AuditReport(read_subject(data), [MadeCheck("test_check", CheckResult("<b>measured</b>", findings), 0.5)])
    path = tmp_path / "audit.html"
    write_audit_page(report, data, path, "shapes")
    return path.read_text(), data


def test_a_finding_has_its_images_and_marks_its_objects(tmp_path):
    finding = Finding("some kind", "warning", "a <b> message", (ImageRef("train", 2, (1,)),), (ImageRef("val", 3),))
    text, data = page_of([finding], tmp_path)
    (article,) = parse(text).find("article", class_="finding")
    assert article.attributes["data-splits"] == "train val"
    assert article.attributes["data-severity"] == "warning"
    assert len(article.find("figure")) == 3  # the image, its object enlarged, and the one for comparison
    whole = article.find("figure")[0]
    mark = next(rect for rect in whole.find("rect") if rect.attributes.get("class") == "mark")
    box = data.dataset("train").annotation(2).boxes[1]
    assert float(mark.attributes["x"]) == pytest.approx(box[0], abs=0.06)
    assert float(mark.attributes["width"]) == pytest.approx(box[2] - box[0], abs=0.06)
    assert "a &lt;b&gt; message" in text
    assert "<b>" not in text


def test_the_number_of_findings_with_images_is_limited(tmp_path):
    findings = [Finding("many", "warning", f"number {index}", (ImageRef("train", 0),)) for index in range(SHOWN + 7)]
    text, _ = page_of([*findings, Finding("whole", "note", "about a split")], tmp_path)
    assert len(parse(text).find("article", class_="finding")) == SHOWN + 1
    assert "and 7 more findings of this kind" in text


def test_it_needs_nothing_else(tmp_path):
    text, _ = page_of([Finding("a", "error", "b", (ImageRef("train", 0, (0,)),))], tmp_path)
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    images = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert all(base64.b64decode(image)[:2] == b"\xff\xd8" for image in images)
    assert "default-src 'none'" in text


def test_nothing_found(tmp_path):
    text, _ = page_of([], tmp_path)
    assert "Nothing was found." in text
