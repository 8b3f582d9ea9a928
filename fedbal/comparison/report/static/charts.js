"use strict";
// Each chart is a function of the page's state: it returns traces, a layout and the same as a table.

const DATA = JSON.parse(document.getElementById("data").textContent);
const STATE = { dataset: 0, axis: "rounds", outcome: 0, rule: null, hidden: new Set(), width: null };

const here = () => DATA.datasets[STATE.dataset];
const holders = () => here().clients || { names: [], classes: [], samples: [], mix: [], rounds: [], weights: {} };
const methodsOf = (table) => DATA.methods.filter((m) => table[m.label] && !STATE.hidden.has(m.label));
// Plotly reads a little HTML in every text; names are only ever text.
const text = (value) => String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "%&#123;");
const short = (value) => (value.length > 26 ? value.slice(0, 25) + "\u2026" : value);
const scale = (outcome) => (outcome.percent ? 100 : 1);
const unit = (outcome) => outcome.label + (outcome.percent ? ", %" : "");
const times = (values, factor) => values.map((v) => (v === null || v === undefined ? null : v * factor));
const shown = (value, digits = 1) => (value === null || value === undefined ? "\u2013" : value.toFixed(digits));
const mean = (values) => {
  const known = values.filter((v) => v !== null && v !== undefined);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
};
const faint = (colour) => colour + "26";
const AXES = { rounds: "round", bytes: "MB sent and received, mean over seeds", seconds: "client-seconds, mean over seeds" };
const CLASS_COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999933", "#882255", "#8A8A8A", "#44338A"];

function classColour(at, count) {
  if (count <= CLASS_COLOURS.length) return CLASS_COLOURS[at];
  return `hsl(${Math.round((320 * at) / count)} 55% ${at % 2 ? 42 : 62}%)`;
}

function base(height, extra = {}) {
  return {
    height, margin: { l: narrow() ? 48 : 64, r: 12, t: 10, b: 48 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    showlegend: false, hovermode: "closest", dragmode: narrow() ? false : "zoom", font: { size: 12, family: "system-ui, sans-serif" },
    hoverlabel: { namelength: -1 }, ...extra,
  };
}
const narrow = () => (STATE.width || window.innerWidth) < 640;
function wrapped(title) {
  if (!narrow()) return title;
  return title.split(" ").reduce((lines, word) => {
    const last = lines[lines.length - 1];
    return last && (last + " " + word).length <= 26 ? [...lines.slice(0, -1), last + " " + word] : [...lines, word];
  }, []).join("<br>");
}
const axis = (title, extra = {}) => ({ title: { text: wrapped(title), standoff: 8 }, automargin: true, zeroline: false, fixedrange: narrow(), ...extra });
const whole = (values) => ({ tickformat: ",d", dtick: Math.max(0, ...values) <= 10 ? 1 : undefined });
const rows = (count, each = 34, least = 120) => Math.max(least, 70 + each * count);
const named = (m) => text(short(m.label));

const CHARTS = {
  curves() {
    const outcome = here().outcomes[STATE.outcome], factor = scale(outcome), traces = [], table = [];
    for (const m of methodsOf(here().curves)) {
      const curve = here().curves[m.label], found = curve.values[outcome.key], x = curve[STATE.axis];
      if (!found || !x) continue;
      const low = times(found.low, factor), high = times(found.high, factor), y = times(found.mean, factor);
      const kept = x.map((_, i) => i).filter((i) => y[i] !== null);
      traces.push({
        x: [...kept.map((i) => x[i]), ...kept.map((i) => x[i]).reverse()], meta: m.label, type: "scatter", mode: "lines",
        y: [...kept.map((i) => high[i]), ...kept.map((i) => low[i]).reverse()], fill: "toself", fillcolor: faint(m.colour),
        line: { width: 0 }, hoverinfo: "skip",
      });
      traces.push({
        x, y, meta: m.label, name: named(m), type: "scatter", mode: "lines+markers", connectgaps: true, text: kept.length === x.length ? x.map((_, i) => `round ${curve.rounds[i]}`) : undefined,
        line: { color: m.colour, dash: m.dash, width: 2 }, marker: { symbol: m.symbol, color: m.colour, size: 7, maxdisplayed: 8 },
        hovertemplate: "%{y:.1f} at %{x:.4~g}<br>%{text}<extra>%{fullData.name}</extra>",
      });
      const step = Math.max(1, Math.ceil(kept.length / 8));
      for (const i of kept.filter((_, at) => at % step === 0 || at === kept.length - 1))
        table.push([m.label, curve.rounds[i], shown(x[i]), shown(y[i]), shown(low[i]), shown(high[i])]);
    }
    const layout = base(420, { xaxis: axis(AXES[STATE.axis], { rangemode: "tozero", ...(STATE.axis === "rounds" ? whole(traces.flatMap((t) => t.x)) : {}) }), yaxis: axis(unit(outcome)) });
    return { traces, layout, headers: ["rule", "round", AXES[STATE.axis], unit(outcome), "band, low", "band, high"], table };
  },

  differences() {
    const factor = scale(DATA.primary), traces = [], table = [];
    const found = here().differences.filter((d) => !STATE.hidden.has(d.method));
    found.forEach((d, at) => {
      const m = DATA.methods.find((one) => one.label === d.method), name = named(m);
      const values = times(d.values, factor), interval = d.low === null ? null : [factor * d.low, factor * d.high];
      traces.push({
        x: values, y: values.map((_, i) => at + 0.09 * ((i % 5) - 2)), meta: m.label, name, type: "scatter", mode: "markers", text: d.seeds.map((s) => `seed ${s}`),
        marker: { symbol: m.symbol + "-open", color: m.colour, size: 8, line: { width: 1.5 } }, hovertemplate: "%{text}: %{x:+.2f}<extra>%{fullData.name}</extra>",
      });
      traces.push({
        x: [factor * d.mean], y: [at], meta: m.label, name, type: "scatter", mode: "markers", marker: { symbol: "line-ns", size: 22, line: { color: m.colour, width: 4 } },
        error_x: interval ? { type: "data", symmetric: false, array: [interval[1] - factor * d.mean], arrayminus: [factor * d.mean - interval[0]], color: m.colour, thickness: 3, width: 0 } : undefined,
        hovertemplate: "mean %{x:+.2f}" + (interval ? ` [${shown(interval[0], 2)}, ${shown(interval[1], 2)}]` : "") + "<extra>%{fullData.name}</extra>",
      });
      d.seeds.forEach((s, i) => table.push([m.label, s, shown(values[i], 2)]));
      table.push([m.label, "mean", shown(factor * d.mean, 2) + (interval ? ` [${shown(interval[0], 2)}, ${shown(interval[1], 2)}]` : "")]);
    });
    const band = factor * DATA.margin;
    const layout = base(rows(found.length, 40), {
      xaxis: axis(`difference from ${text(DATA.baseline)} in ${text(unit(DATA.primary).replace(", %", ", points"))}`, { zeroline: true, zerolinewidth: 2 }),
      yaxis: axis("", { range: [found.length - 0.5, -0.5], tickvals: found.map((_, at) => at), ticktext: found.map((d) => text(short(d.method))), showgrid: false }),
      shapes: [{ type: "rect", xref: "x", yref: "paper", x0: -band, x1: band, y0: 0, y1: 1, opacity: 0.3, fillcolor: "#888888", line: { width: 0 }, layer: "below" }],
    });
    return { traces, layout, headers: ["rule", "seed", "difference"], table };
  },

  classes() {
    const { names, counts, recall } = here().classes || { names: [], counts: null, recall: {} }, found = methodsOf(recall);
    const labels = names.map((n, i) => text(short(n)) + (counts ? `<br>n=${counts[i]}` : ""));
    const few = names.length <= 12 && !narrow();
    const traces = [{
      type: "heatmap", x: few ? labels : names.map((n) => text(short(n))), y: found.map(named), z: found.map((m) => times(recall[m.label], 100)), meta: found.map((m) => m.label),
      zmin: 0, zmax: 100, colorscale: "Cividis", xgap: 1, ygap: 1, hoverongaps: false, texttemplate: few ? "%{z:.0f}" : undefined,
      colorbar: { thickness: 10, title: { text: "%" }, outlinewidth: 0 }, hovertemplate: "class %{x}<br>recall %{z:.1f} %<extra>%{y}</extra>",
    }];
    const layout = base(rows(found.length), { xaxis: axis("class, with its global training samples".slice(0, few && counts ? undefined : 5), { type: "category", showgrid: false }), yaxis: axis("", { type: "category", autorange: "reversed", showgrid: false }) });
    return { traces, layout, headers: ["rule", ...names], table: found.map((m) => [m.label, ...times(recall[m.label], 100).map((v) => shown(v))]) };
  },

  weights() {
    const c = holders(), rules = DATA.methods.filter((m) => c.weights[m.label] && !STATE.hidden.has(m.label));
    const chosen = rules.find((m) => m.label === STATE.rule) || rules[0];
    const y = c.names.map((n) => text(short(n))), traces = mixture(c, y, true);
    const most = Math.max(1e-9, ...rules.flatMap((m) => c.weights[m.label].flat().filter((v) => v !== null)));
    if (chosen) traces.push({
      type: "heatmap", x: c.rounds, y, z: c.weights[chosen.label], xaxis: "x2", yaxis: "y", meta: [chosen.label], zmin: 0, zmax: most, colorscale: "Viridis",
      hoverongaps: false, colorbar: { thickness: 10, title: { text: "weight" }, outlinewidth: 0 }, hovertemplate: "client %{y}, round %{x}<br>weight %{z:.3f}<extra>" + named(chosen) + "</extra>",
    });
    const layout = base(rows(c.names.length, 15, 260), {
      barmode: "stack", bargap: 0.1, xaxis: axis(narrow() ? "samples" : "training samples", { domain: [0, 0.3], nticks: 4 }), xaxis2: axis(chosen && !narrow() ? `round: weight by ${named(chosen)}` : "round", { domain: [0.34, 1], anchor: "y", showgrid: false, ...whole(c.rounds) }),
      yaxis: axis("client", { type: "category", autorange: "reversed", showgrid: false }),
      // Where a client was not asked: apart from the smallest weight in both themes.
      shapes: [{ type: "rect", xref: "x2 domain", yref: "paper", x0: 0, x1: 1, y0: 0, y1: 1, opacity: 0.3, fillcolor: "#888888", line: { width: 0 }, layer: "below" }],
    });
    const table = c.names.map((n, i) => [n, c.samples[i], ...rules.map((m) => shown(mean(c.weights[m.label][i]), 4))]);
    return { traces, layout, headers: ["client", "training samples", ...rules.map((m) => `mean weight, ${m.label}`)], table };
  },

  fairness() {
    const factor = scale(DATA.primary), traces = [], table = [];
    for (const m of methodsOf(here().fairness)) {
      const f = here().fairness[m.label], x = times(f.primary, factor), y = times(f.worst, 100), name = named(m);
      traces.push({ x, y, meta: m.label, name, type: "scatter", mode: "markers", text: f.seeds.map((s) => `seed ${s}`), marker: { symbol: m.symbol, color: m.colour, size: 6, opacity: 0.4 }, hovertemplate: "%{text}: %{x:.1f}, %{y:.1f}<extra>%{fullData.name}</extra>" });
      traces.push({ x: [mean(x)], y: [mean(y)], meta: m.label, name, type: "scatter", mode: "markers", marker: { symbol: m.symbol, color: m.colour, size: 15, line: { width: 1.5, color: "#ffffff" } }, hovertemplate: "mean: %{x:.1f}, %{y:.1f}<extra>%{fullData.name}</extra>" });
      table.push([m.label, shown(mean(x)), shown(mean(y))]);
    }
    const layout = base(400, { xaxis: axis(unit(DATA.primary)), yaxis: axis("worst 10 % of clients, %") });
    return { traces, layout, headers: ["rule", unit(DATA.primary), "worst 10 % of clients, %"], table };
  },

  personal() {
    const traces = [], table = [], found = methodsOf(here().personal);
    for (const m of found) {
      const p = here().personal[m.label], values = times([p.global, p.personal], 100), name = named(m);
      traces.push({ x: values, y: [name, name], meta: m.label, name, type: "scatter", mode: "lines+markers", text: ["global model", "the client's own model"], line: { color: m.colour, width: 2 }, marker: { symbol: ["circle-open", "circle"], color: m.colour, size: 12, line: { width: 2 } }, hovertemplate: "%{text}: %{x:.1f} %<extra>%{fullData.name}</extra>" });
      table.push([m.label, ...values.map((v) => shown(v))]);
    }
    const layout = base(rows(found.length, 40), { xaxis: axis("mean over clients on their own test rows, %"), yaxis: axis("", { type: "category", autorange: "reversed", showgrid: false }) });
    return { traces, layout, headers: ["rule", "global model, %", "own model, %"], table };
  },

  cost() {
    const found = methodsOf(here().cost), stacked = narrow();
    const kinds = [["megabytes", "MB, up and down"], ["client_seconds", "client-seconds"], ["wall_seconds", "wall seconds here"]].filter(([key]) => found.some((m) => here().cost[m.label][key] !== null));
    const traces = kinds.flatMap(([key, title], at) => found.map((m) => ({
      type: "bar", orientation: "h", x: [here().cost[m.label][key]], y: [named(m)], meta: m.label, name: named(m), xaxis: at ? `x${at + 1}` : "x", yaxis: stacked && at ? `y${at + 1}` : "y",
      marker: { color: m.colour }, hovertemplate: `%{x:.4~g} ${title}<extra>%{fullData.name}</extra>`,
    })));
    const layout = base((stacked ? kinds.length : 1) * rows(found.length, stacked ? 22 : 30), { barmode: "overlay", yaxis: axis("", { type: "category", autorange: "reversed", showgrid: false }) });
    kinds.forEach(([, title], at) => {
      const number = at ? at + 1 : "", part = 1 / kinds.length;
      layout[`xaxis${number}`] = axis(title, { nticks: 5, domain: stacked ? [0, 1] : [at * part + (at ? 0.02 : 0), (at + 1) * part], anchor: stacked ? `y${number}` : "y", rangemode: "tozero" });
      if (stacked) layout[`yaxis${number}`] = { ...layout.yaxis, domain: [1 - (at + 1) * part + (at < kinds.length - 1 ? 65 / layout.height : 0), 1 - at * part], anchor: `x${number}` };
    });
    return { traces, layout, headers: ["rule", ...kinds.map(([, title]) => title)], table: found.map((m) => [m.label, ...kinds.map(([key]) => shown(here().cost[m.label][key]))]) };
  },

  partition() {
    const c = holders(), x = c.names.map((n) => text(short(n))), traces = mixture(c, x, false);
    const layout = base(320, { barmode: "stack", bargap: 0.1, xaxis: axis("client", { type: "category", showgrid: false }), yaxis: axis("training samples"), showlegend: c.classes.length > 0 && c.classes.length <= 12, legend: { orientation: "h", y: 1.02, yanchor: "bottom", traceorder: "normal" } });
    return { traces, layout, headers: ["client", ...(c.classes.length ? c.classes : ["samples"])], table: c.names.map((n, i) => [n, ...(c.classes.length ? c.mix[i] : [c.samples[i]])]) };
  },

  tuning() {
    const traces = [], table = [], found = DATA.methods.filter((m) => (DATA.tuning || {})[m.label] && !STATE.hidden.has(m.label));
    for (const m of found) {
      const best = DATA.tuning[m.label];
      traces.push({ x: best.map((_, i) => i + 1), y: times(best, 100), meta: m.label, name: named(m), type: "scatter", mode: "lines+markers", line: { color: m.colour, dash: m.dash, width: 2 }, marker: { symbol: m.symbol, color: m.colour, size: 7 }, hovertemplate: "best of %{x}: %{y:.1f}<extra>%{fullData.name}</extra>" });
      best.forEach((v, i) => table.push([m.label, i + 1, shown(100 * v)]));
    }
    return { traces, layout: base(360, { xaxis: axis("trials", { dtick: found.length ? Math.ceil(table.length / found.length / 8) : 1 }), yaxis: axis("expected best validation score, %") }), headers: ["rule", "trials", "expected best, %"], table };
  },

  ranks() {
    const found = DATA.methods.filter((m) => m.label in DATA.ranks && !STATE.hidden.has(m.label)).sort((a, b) => DATA.ranks[a.label] - DATA.ranks[b.label]);
    const traces = found.map((m) => ({
      x: [DATA.ranks[m.label]], y: [named(m)], meta: m.label, name: named(m), type: "scatter", mode: "markers", marker: { symbol: m.symbol, color: m.colour, size: 13 },
      error_x: DATA.critical ? { type: "data", array: [DATA.critical / 2], color: m.colour, thickness: 3, width: 4 } : undefined, hovertemplate: "mean rank %{x:.2f}<extra>%{fullData.name}</extra>",
    }));
    return { traces, layout: base(rows(found.length), { xaxis: axis("mean rank over data sets (1 is best)"), yaxis: axis("", { type: "category", autorange: "reversed", showgrid: false }) }), headers: ["rule", "mean rank"], table: found.map((m) => [m.label, shown(DATA.ranks[m.label], 2)]) };
  },
};

function mixture(c, names, sideways) {
  const classes = c.classes.length ? c.classes : ["samples"];
  return classes.map((name, k) => {
    const amount = c.names.map((_, i) => (c.classes.length ? c.mix[i][k] : c.samples[i]));
    return {
      type: "bar", orientation: sideways ? "h" : "v", name: text(short(name)), x: sideways ? amount : names, y: sideways ? names : amount,
      marker: { color: classColour(k, classes.length), line: { width: 0 } }, hovertemplate: `client %{${sideways ? "y" : "x"}}: %{${sideways ? "x" : "y"}} of %{fullData.name}<extra></extra>`,
    };
  });
}
