"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const form = find("filters"), root = document.documentElement;
  const cards = [...document.querySelectorAll(".card")], sheets = [...document.querySelectorAll(".sheet")];
  const checks = [...form.querySelectorAll("#classes input")];
  const valueOf = (id) => find(id)?.value ?? "";

  // A key is the class, and the size if it is an object: "0small", "4".
  const matches = (key, label, size) =>
    (label === "" || key.replace(/[a-z]+$/, "") === label) && (size === "" || key.endsWith(size));

  function isShown(card, name, split, label, size) {
    const keys = card.dataset.keys.split(" ").filter(Boolean);
    if (!card.dataset.name.includes(name) || (split !== "" && card.dataset.split !== split)) return false;
    if (label === "none") return keys.length === 0;
    return (label === "" && size === "") || keys.some((key) => matches(key, label, size));
  }

  function filterImages() {
    const wanted = [find("name").value.toLowerCase(), valueOf("split"), valueOf("class"), valueOf("size")];
    for (const card of cards) card.hidden = !isShown(card, ...wanted);
    for (const sheet of sheets) sheet.hidden = !sheet.querySelector(".card:not([hidden])");
    find("count").value = `${cards.filter((card) => !card.hidden).length} of ${cards.length} images`;
  }

  function drawObjects() {
    const hidden = checks.filter((check) => !check.checked).map((check) => `.view [data-class="${check.value}"]`);
    if (valueOf("size") !== "") hidden.push(`.view g:not([data-size="${valueOf("size")}"])`);
    find("hidden-objects").textContent = hidden.length ? `${hidden.join(",")} { display: none }` : "";
    root.classList.toggle("no-boxes", find("boxes")?.checked === false);
    root.classList.toggle("no-labels", find("labels")?.checked === false);
    root.style.setProperty("--width", `${valueOf("width")}px`);
    if (find("opacity")) root.style.setProperty("--opacity", valueOf("opacity"));
  }

  function update() {
    filterImages();
    drawObjects();
  }

  for (const button of form.querySelectorAll("[data-check]")) {
    button.addEventListener("click", () => {
      for (const check of checks) check.checked = Boolean(button.dataset.check);
      update();
    });
  }
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
})();
