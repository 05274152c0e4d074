"""The page in a headless browser: the filters and switches work, and nothing is written to the console."""

import pytest

import visionkit as vk
from tests.helpers.browser import run_in_browser
from visionkit.report.data_page import write_data_page

pytestmark = pytest.mark.slow

SCRIPT = """
const change = (id, value) => {
  const control = document.getElementById(id);
  if (typeof value === "boolean") control.checked = value; else control.value = value;
  control.dispatchEvent(new Event("input", {bubbles: true}));
};
const isVisible = (element) => element.getClientRects().length > 0;
const visible = (selector) => [...document.querySelectorAll(selector)].filter(isVisible).length;
const found = {all: visible(".card"), objects: visible(".view g")};
change("name", "TRAIN/1"); found.name = visible(".card"); change("name", "");
change("split", "val"); found.split = visible(".card"); found.sheets = visible(".sheet"); change("split", "");
change("class", "2"); found.class = visible(".card");
change("class", "none"); found.empty = visible(".card"); change("class", "");
change("size", "small"); found.size = visible(".card"); found.small = visible(".view g"); change("size", "");
document.querySelector('#classes input[value="2"]').click(); found.hidden = visible(".view g");
document.querySelector('[data-check=""]').click(); found.none = visible(".view g");
document.querySelector('[data-check="1"]').click(); found.again = visible(".view g");
change("labels", false); found.labels = visible(".view text");
change("opacity", "0.25"); found.opacity = getComputedStyle(document.querySelector(".view path")).opacity;
found.said = document.getElementById("count").value;
document.title = JSON.stringify(found);
"""


def test_filters_and_switches(tmp_path):
    splits = {split: {"split": split, "count": 12, "size": 96, "empty_share": 0.3} for split in ("train", "val")}
    data = vk.VisionData("shapes", splits=splits, num_workers=0)
    path = tmp_path / "data.html"
    write_data_page(data, path, "shapes")
    found = run_in_browser(path, SCRIPT)

    images = [data.dataset(split)[index] for split in splits for index in range(12)]
    labels = [{*image.annotation.labels.tolist()} for image in images]
    objects = sum(len(image.annotation) for image in images)
    small = [int((image.annotation.area < 32**2).sum()) for image in images]
    of_two = sum(int((image.annotation.labels == 2).sum()) for image in images)
    assert found == {
        "all": 24,
        "objects": objects,
        "name": 3,  # 1, 10, 11
        "split": 12,
        "sheets": 1,
        "class": sum(2 in there for there in labels),
        "empty": sum(not there for there in labels),
        "size": sum(map(bool, small)),
        "small": sum(small),
        "hidden": objects - of_two,
        "none": 0,
        "again": objects,
        "labels": 0,
        "opacity": "0.25",
        "said": "24 of 24 images",
    }
    assert 0 < found["class"] < 24
    assert found["empty"] > 0
