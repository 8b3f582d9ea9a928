"use strict";
// The page's controls: which rules are shown, on which axis, in which theme; tables; print.

const CONFIG = { displayModeBar: false, responsive: true, displaylogo: false };
const boxes = [...document.querySelectorAll("[data-chart]")];

function draw(box) {
  const found = CHARTS[box.dataset.chart]();
  if (STATE.width) found.layout.width = STATE.width;
  box.parentElement.querySelector("details").dataset.stale = "yes";
  fill(box.parentElement.querySelector("details"), found);
  return Plotly.react(box, found.traces, found.layout, CONFIG);
}

function fill(details, found) {
  if (!details.open || details.dataset.stale !== "yes") return;
  const table = document.createElement("table"),
    head = table.createTHead().insertRow(),
    body = table.createTBody();
  for (const name of found.headers)
    head.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
  for (const cells of found.table) {
    const row = body.insertRow();
    cells.forEach((value, at) => {
      const cell = at
        ? row.insertCell()
        : row.appendChild(Object.assign(document.createElement("th"), { scope: "row" }));
      cell.textContent = value;
      if (at) cell.className = "n";
    });
  }
  details.querySelector(".scroll").replaceChildren(table);
  details.dataset.stale = "no";
}

const drawAll = (names = null) =>
  Promise.all(boxes.filter((box) => !names || names.includes(box.dataset.chart)).map(draw));

function press(buttons, chosen) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button === chosen));
}

function options(select, labels, value) {
  select.replaceChildren(
    ...labels.map((label, at) =>
      Object.assign(document.createElement("option"), { textContent: label, value: String(at) }),
    ),
  );
  select.value = String(Math.max(0, value));
}

function ruleChoice() {
  const select = document.getElementById("weight-rule");
  if (!select) return;
  const labels = methodsOf(holders().weights).map((m) => m.label);
  options(select, labels, labels.indexOf(STATE.rule));
  select.onchange = () => {
    STATE.rule = labels[Number(select.value)];
    drawAll(["weights"]);
  };
}

function outcomeChoice() {
  const select = document.getElementById("outcome");
  if (!select) return;
  STATE.outcome = Math.min(STATE.outcome, here().outcomes.length - 1);
  options(
    select,
    here().outcomes.map((o, at) => o.label + (at ? " (exploratory)" : "")),
    STATE.outcome,
  );
  select.onchange = () => {
    STATE.outcome = Number(select.value);
    drawAll(["curves"]);
  };
}

for (const button of document.querySelectorAll("[data-rule]")) {
  const label = DATA.methods[Number(button.dataset.rule)].label;
  button.addEventListener("click", () => {
    if (!STATE.hidden.delete(label)) STATE.hidden.add(label);
    button.setAttribute("aria-pressed", String(!STATE.hidden.has(label)));
    ruleChoice();
    drawAll();
  });
}

const axisButtons = [...document.querySelectorAll("[data-axis]")];
for (const button of axisButtons)
  button.addEventListener("click", () => {
    STATE.axis = button.dataset.axis;
    press(axisButtons, button);
    drawAll(["curves"]);
  });

const datasetSelect = document.getElementById("dataset");
if (datasetSelect)
  datasetSelect.addEventListener("change", () => {
    STATE.dataset = Number(datasetSelect.value);
    ruleChoice();
    outcomeChoice();
    drawAll();
  });

for (const details of document.querySelectorAll("figure details"))
  details.addEventListener("toggle", () =>
    fill(details, CHARTS[details.parentElement.querySelector("[data-chart]").dataset.chart]()),
  );

const themeButtons = [...document.querySelectorAll("[data-theme-choice]")];
function theme(choice) {
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  press(
    themeButtons,
    themeButtons.find((button) => button.dataset.themeChoice === choice),
  );
  try {
    localStorage.setItem("fedbal-theme", choice);
  } catch {
    /* a page from a file may have no storage */
  }
}
for (const button of themeButtons) button.addEventListener("click", () => theme(button.dataset.themeChoice));
let kept = "auto";
try {
  kept = localStorage.getItem("fedbal-theme") || "auto";
} catch {
  kept = "auto";
}
theme(["auto", "light", "dark"].includes(kept) ? kept : "auto");

// Sorting a table by a column; a second press turns it round. Cells without a number stay last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th"),
      body = header.closest("table").tBodies[0],
      at = header.cellIndex;
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const value = row.cells[at].dataset.value;
      return value === "" ? null : Number.isNaN(Number(value)) ? value : Number(value);
    };
    const compare = (a, b) =>
      a === null || b === null ? (a === null) - (b === null) : (down ? -1 : 1) * (a < b ? -1 : a > b ? 1 : 0);
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
  });
}

// A sheet of paper has its own width; what a table holds beside an open chart is printed too.
function paper(width) {
  STATE.width = width;
  boxes.forEach(draw);
  if (!width) boxes.forEach((box) => Plotly.Plots.resize(box));
}
window.addEventListener("beforeprint", () => paper(680));
window.addEventListener("afterprint", () => paper(null));

ruleChoice();
outcomeChoice();
drawAll().then(() => {
  document.documentElement.dataset.ready = "yes";
});
