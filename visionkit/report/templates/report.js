"use strict";
(() => {
  const words = (text) => text.split(" ").filter(Boolean);

  for (const form of document.querySelectorAll("[data-filters]")) {
    const section = form.closest("section"), grid = section.querySelector(".grid");
    const cards = [...grid.querySelectorAll(".card")];
    const value = (name) => form.querySelector(`[data-filter="${name}"]`)?.value ?? "";

    function update() {
      const [kind, label, layer] = ["kind", "class", "layer"].map(value);
      for (const card of cards) {
        card.hidden = (kind !== "" && !words(card.dataset.kinds).includes(kind))
          || (label !== "" && !words(card.dataset.classes).includes(label));
      }
      grid.append(...(value("order") === "best" ? [...cards].reverse() : cards));
      for (const layers of grid.querySelectorAll(".layers")) layers.className = `layers show-${layer}`;
      for (const toggle of form.querySelectorAll("[data-toggle]")) {
        grid.classList.toggle(`hide-${toggle.dataset.toggle}`, !toggle.checked);
      }
      form.querySelector("[data-count]").value = `${cards.filter((card) => !card.hidden).length} of ${cards.length} images`;
    }

    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    update();
  }
})();
