"use strict";
// The data, the page's state, and what all charts share.

const DATA = JSON.parse(document.getElementById("data").textContent);
const STATE = { dataset: 0, axis: "rounds", outcome: 0, rule: null, hidden: new Set(), width: null };

const here = () => DATA.datasets[STATE.dataset];
const holders = () =>
  here().clients || { names: [], classes: [], samples: [], mix: [], rounds: [], weights: {} };
const methodsOf = (table) =>
  DATA.methods.filter((m) => Object.hasOwn(table, m.label) && !STATE.hidden.has(m.label));
// Plotly reads a little HTML in every text; names are only ever text.
const text = (value) =>
  String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "%&#123;");
// Shortened, safe and distinct: two places of one name on an axis would be one place.
function names(values) {
  const seen = new Map();
  return values.map((value) => {
    const short = value.length > 26 ? value.slice(0, 25) + "\u2026" : value;
    const before = seen.get(short) || 0;
    seen.set(short, before + 1);
    return text(before ? `${short} (${before + 1})` : short);
  });
}
const scale = (outcome) => (outcome.percent ? 100 : 1);
const unit = (outcome) => outcome.label + (outcome.percent ? ", %" : "");
const times = (values, factor) => values.map((v) => (v === null || v === undefined ? null : v * factor));
const shown = (value, digits = 1) => (value === null || value === undefined ? "\u2013" : value.toFixed(digits));
const mean = (values) => {
  const known = values.filter((v) => v !== null && v !== undefined);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
};
const faint = (colour) => colour + "26";
const AXES = {
  rounds: "round",
  bytes: "MB sent and received, mean over seeds",
  seconds: "client-seconds, mean over seeds",
};
const CLASS_COLOURS = [
  "#0072B2",
  "#E69F00",
  "#009E73",
  "#CC79A7",
  "#56B4E9",
  "#D55E00",
  "#999933",
  "#882255",
  "#8A8A8A",
  "#44338A",
];

function classColour(at, count) {
  if (count <= CLASS_COLOURS.length) return CLASS_COLOURS[at];
  return `hsl(${Math.round((320 * at) / count)} 55% ${at % 2 ? 42 : 62}%)`;
}

function base(height, extra = {}) {
  return {
    height,
    margin: { l: narrow() ? 48 : 64, r: 12, t: 10, b: 48 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    showlegend: false,
    hovermode: "closest",
    dragmode: narrow() ? false : "zoom",
    font: { size: 12, family: "system-ui, sans-serif" },
    hoverlabel: { namelength: -1 },
    ...extra,
  };
}
const narrow = () => (STATE.width || window.innerWidth) < 640;
function wrapped(title) {
  if (!narrow()) return title;
  return title
    .split(" ")
    .reduce((lines, word) => {
      const last = lines[lines.length - 1];
      return last && (last + " " + word).length <= 26
        ? [...lines.slice(0, -1), last + " " + word]
        : [...lines, word];
    }, [])
    .join("<br>");
}
const axis = (title, extra = {}) => ({
  title: { text: wrapped(title), standoff: 8 },
  automargin: true,
  zeroline: false,
  fixedrange: narrow(),
  ...extra,
});
const whole = (values) => ({ tickformat: ",d", dtick: Math.max(0, ...values) <= 10 ? 1 : undefined });
const rows = (count, each = 34, least = 120) => Math.max(least, 70 + each * count);
names(DATA.methods.map((m) => m.label)).forEach((name, at) => (DATA.methods[at].name = name));
const named = (m) => m.name;
