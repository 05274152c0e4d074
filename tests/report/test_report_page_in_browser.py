"""The report in a headless browser: filters and switches work, and nothing is written to the console."""

import pytest

from tests.helpers.browser import run_in_browser
from tests.helpers.small_runs import checkpoints_of
from visionkit.cli.main import main

pytestmark = pytest.mark.slow

SCRIPT = """
const control = (name) => document.querySelector(`[data-filter="${name}"], [data-toggle="${name}"]`);
const change = (name, value) => {
  if (typeof value === "boolean") control(name).checked = value; else control(name).value = value;
  control(name).dispatchEvent(new Event("input", {bubbles: true}));
};
const isVisible = (element) => element.getClientRects().length > 0;
const visible = (selector) => [...document.querySelectorAll(selector)].filter(isVisible).length;
const first = () => document.querySelector(".card figcaption").textContent.trim().split(" ")[0];
const found = {cards: visible(".card"), worst: first(), plots: visible(".plots svg")};
const options = [...control("kind").options].map((option) => option.value).filter(Boolean);
found.kinds = options.map((kind) => { change("kind", kind); return visible(".card"); });
change("kind", "");
change("order", "best"); found.best = first(); change("order", "worst");
if (control("truth")) {
  found.truth = visible("svg .truth"); change("truth", false); found.hidden = visible("svg .truth");
}
if (control("layer")) {
  change("layer", "truth");
  found.layer = visible('[data-layer="prediction"]'); found.shown = visible('[data-layer="truth"]');
}
found.requests = performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith("data:")).length;
document.title = JSON.stringify(found);
"""


@pytest.mark.parametrize("task", ["detection", "segmentation", "classification"])
def test_filters_and_switches(task, tmp_path):
    checkpoint = checkpoints_of(task, tmp_path)[0]
    path = tmp_path / "report.html"
    assert main(["report", str(checkpoint), "--output", str(path)]) == 0
    found = run_in_browser(path, SCRIPT)
    assert found["cards"] == 3
    assert found["plots"] >= 3
    assert found["worst"] != found["best"]
    assert found["requests"] == 0
    assert all(1 <= count <= 3 for count in found["kinds"])
    if task == "detection":
        assert found["truth"] > 0 == found["hidden"]
    if task == "segmentation":
        assert found["layer"] == 0 < found["shown"]
