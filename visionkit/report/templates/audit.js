"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const form = find("filters");
  const findings = [...document.querySelectorAll(".finding")], kinds = [...document.querySelectorAll(".kind")];

  function isShown({ kind, severity, splits, names }) {
    const wanted = { kind: find("kind").value, severity: find("severity").value, split: find("split").value };
    return (wanted.kind === "" || kind === wanted.kind)
      && (wanted.severity === "" || severity === wanted.severity)
      && (wanted.split === "" || splits.split(" ").includes(wanted.split))
      && names.includes(find("name").value.toLowerCase());
  }

  function update() {
    for (const finding of findings) finding.hidden = !isShown(finding.dataset);
    for (const kind of kinds) kind.hidden = !kind.querySelector(".finding:not([hidden])");
    find("count").value = `${findings.filter((finding) => !finding.hidden).length} of ${findings.length} findings`;
    document.documentElement.style.setProperty("--width", `${find("width").value}px`);
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
})();
