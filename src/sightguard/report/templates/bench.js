"use strict";
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

(function filters() {
  const form = one("#filters");
  const names = all("select", form).map((select) => select.name);
  const rows = all(".listing tbody tr");
  const examples = all("#examples article");
  // a row between two defenses is about both
  const about = (part, name) => (name === "defense" ? [part.dataset.defense, part.dataset.against] : [part.dataset[name]]);
  // what a row is not about does not hide it
  const fits = (part) => names.every((name) => form[name].value === "*" || !(name in part.dataset) || about(part, name).includes(form[name].value));

  function update() {
    for (const part of [...rows, ...examples, ...all("#examples tr")]) part.hidden = !fits(part);
    for (const example of examples) if (example.hidden) veil(example, false);
    const seen = rows.filter((row) => !row.hidden).length;
    one("#count").textContent = `${seen} of ${rows.length} rows`;
  }

  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
})();

(function sorting() {
  const words = new Intl.Collator("en", { numeric: true });

  function compare(button) {
    const { by, column } = button.dataset;
    if (by) return (a, b) => words.compare(a.dataset[by], b.dataset[by]);
    const cell = (row) => row.cells[Number(column) + 1];
    const value = (row) => (cell(row).dataset.value === undefined ? null : Number(cell(row).dataset.value));
    return (a, b) => (value(a) === null || value(b) === null ? words.compare(cell(a).textContent, cell(b).textContent) : value(a) - value(b));
  }

  // what has no value comes last, whichever way the others are sorted
  const empty = (row, button) => "column" in button.dataset && row.cells[Number(button.dataset.column) + 1].textContent === "–";

  for (const table of all(".listing")) {
    const body = one("tbody", table);
    const given = [...body.rows];
    const buttons = all(".sort", table);
    table.addEventListener("click", (event) => {
      const button = event.target.closest(".sort");
      if (!button) return;
      const order = { ascending: "descending", descending: "" }[button.dataset.order] ?? "ascending";
      for (const other of buttons) {
        delete other.dataset.order;
        other.closest("th").removeAttribute("aria-sort");
      }
      const rows = [...given];
      if (order) {
        button.dataset.order = order;
        button.closest("th").setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const compared = compare(button);
        rows.sort((a, b) => empty(a, button) - empty(b, button) || sign * compared(a, b));
      }
      body.append(...rows);
    });
  }
})();

function veil(example, open) {
  const button = one(".veil", example);
  if (!button) return;
  button.setAttribute("aria-expanded", String(open));
  for (const words of all(".words", example)) words.hidden = !open;
}

(function examples() {
  const hideAll = () => all("#examples article").forEach((example) => veil(example, false));
  for (const button of all(".veil")) {
    button.addEventListener("click", () => veil(button.closest("article"), button.getAttribute("aria-expanded") !== "true"));
  }
  one("#hide")?.addEventListener("click", hideAll);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideAll();
  });
})();
