"use strict";
// Charts of rules. Each is a function of the page's state and returns traces, a layout and the same as a table.

const CHARTS = {
  curves() {
    const outcome = here().outcomes[STATE.outcome],
      factor = scale(outcome),
      traces = [],
      table = [];
    for (const m of methodsOf(here().curves)) {
      const curve = here().curves[m.label],
        found = curve.values[outcome.key],
        x = curve[STATE.axis];
      if (!found || !x) continue;
      const low = times(found.low, factor),
        high = times(found.high, factor),
        y = times(found.mean, factor);
      const kept = x.map((_, i) => i).filter((i) => y[i] !== null);
      traces.push({
        x: [...kept.map((i) => x[i]), ...kept.map((i) => x[i]).reverse()],
        meta: m.label,
        type: "scatter",
        mode: "lines",
        y: [...kept.map((i) => high[i]), ...kept.map((i) => low[i]).reverse()],
        fill: "toself",
        fillcolor: faint(m.colour),
        line: { width: 0 },
        hoverinfo: "skip",
      });
      traces.push({
        x,
        y,
        meta: m.label,
        name: named(m),
        type: "scatter",
        mode: "lines+markers",
        connectgaps: true,
        text: kept.length === x.length ? x.map((_, i) => `round ${curve.rounds[i]}`) : undefined,
        line: { color: m.colour, dash: m.dash, width: 2 },
        marker: { symbol: m.symbol, color: m.colour, size: 7, maxdisplayed: 8 },
        hovertemplate: "%{y:.1f} at %{x:.4~g}<br>%{text}<extra>%{fullData.name}</extra>",
      });
      const step = Math.max(1, Math.ceil(kept.length / 8));
      for (const i of kept.filter((_, at) => at % step === 0 || at === kept.length - 1))
        table.push([m.label, curve.rounds[i], shown(x[i]), shown(y[i]), shown(low[i]), shown(high[i])]);
    }
    const layout = base(420, {
      xaxis: axis(AXES[STATE.axis], {
        rangemode: "tozero",
        ...(STATE.axis === "rounds" ? whole(traces.flatMap((t) => t.x)) : {}),
      }),
      yaxis: axis(unit(outcome)),
    });
    return {
      traces,
      layout,
      headers: ["rule", "round", AXES[STATE.axis], unit(outcome), "band, low", "band, high"],
      table,
    };
  },

  differences() {
    const factor = scale(DATA.primary),
      traces = [],
      table = [];
    const found = here().differences.filter((d) => !STATE.hidden.has(d.method));
    found.forEach((d, at) => {
      const m = DATA.methods.find((one) => one.label === d.method),
        name = named(m);
      const values = times(d.values, factor),
        interval = d.low === null ? null : [factor * d.low, factor * d.high];
      traces.push({
        x: values,
        y: values.map((_, i) => at + 0.09 * ((i % 5) - 2)),
        meta: m.label,
        name,
        type: "scatter",
        mode: "markers",
        text: d.seeds.map((s) => `seed ${s}`),
        marker: { symbol: m.symbol + "-open", color: m.colour, size: 8, line: { width: 1.5 } },
        hovertemplate: "%{text}: %{x:+.2f}<extra>%{fullData.name}</extra>",
      });
      traces.push({
        x: [factor * d.mean],
        y: [at],
        meta: m.label,
        name,
        type: "scatter",
        mode: "markers",
        marker: { symbol: "line-ns", size: 22, line: { color: m.colour, width: 4 } },
        error_x: interval
          ? {
              type: "data",
              symmetric: false,
              array: [interval[1] - factor * d.mean],
              arrayminus: [factor * d.mean - interval[0]],
              color: m.colour,
              thickness: 3,
              width: 0,
            }
          : undefined,
        hovertemplate:
          "mean %{x:+.2f}" +
          (interval ? ` [${shown(interval[0], 2)}, ${shown(interval[1], 2)}]` : "") +
          "<extra>%{fullData.name}</extra>",
      });
      d.seeds.forEach((s, i) => table.push([m.label, s, shown(values[i], 2)]));
      table.push([
        m.label,
        "mean",
        shown(factor * d.mean, 2) + (interval ? ` [${shown(interval[0], 2)}, ${shown(interval[1], 2)}]` : ""),
      ]);
    });
    const band = factor * DATA.margin;
    const layout = base(rows(found.length, 40), {
      xaxis: axis(
        `difference from ${text(DATA.baseline)} in ${text(unit(DATA.primary).replace(", %", ", points"))}`,
        { zeroline: true, zerolinewidth: 2 },
      ),
      yaxis: axis("", {
        range: [found.length - 0.5, -0.5],
        tickvals: found.map((_, at) => at),
        ticktext: found.map((d) => named(DATA.methods.find((m) => m.label === d.method))),
        showgrid: false,
      }),
      shapes: [
        {
          type: "rect",
          xref: "x",
          yref: "paper",
          x0: -band,
          x1: band,
          y0: 0,
          y1: 1,
          opacity: 0.3,
          fillcolor: "#888888",
          line: { width: 0 },
          layer: "below",
        },
      ],
    });
    return { traces, layout, headers: ["rule", "seed", "difference"], table };
  },

  classes() {
    const { metric, classes, counts, recall } = here().classes || { classes: [], recall: {} },
      found = methodsOf(recall),
      x = names(classes);
    const few = classes.length <= 12 && !narrow();
    const traces = [
      {
        type: "heatmap",
        x: few && counts ? x.map((name, i) => `${name}<br>n=${counts[i]}`) : x,
        y: found.map(named),
        z: found.map((m) => times(recall[m.label], 100)),
        meta: found.map((m) => m.label),
        zmin: 0,
        zmax: 100,
        colorscale: "Cividis",
        xgap: 1,
        ygap: 1,
        hoverongaps: false,
        texttemplate: few ? "%{z:.0f}" : undefined,
        colorbar: { thickness: 10, title: { text: "%" }, outlinewidth: 0 },
        hovertemplate: "class %{x}<br>" + metric + " %{z:.1f} %<extra>%{y}</extra>",
      },
    ];
    const layout = base(rows(found.length), {
      xaxis: axis("class, with its global training samples".slice(0, few && counts ? undefined : 5), {
        type: "category",
        showgrid: false,
      }),
      yaxis: axis("", { type: "category", autorange: "reversed", showgrid: false }),
    });
    return {
      traces,
      layout,
      headers: ["rule", ...classes],
      table: found.map((m) => [m.label, ...times(recall[m.label], 100).map((v) => shown(v))]),
    };
  },

  fairness() {
    const factor = scale(DATA.primary),
      traces = [],
      table = [];
    for (const m of methodsOf(here().fairness)) {
      const f = here().fairness[m.label],
        x = times(f.primary, factor),
        y = times(f.worst, 100),
        name = named(m);
      traces.push({
        x,
        y,
        meta: m.label,
        name,
        type: "scatter",
        mode: "markers",
        text: f.seeds.map((s) => `seed ${s}`),
        marker: { symbol: m.symbol, color: m.colour, size: 6, opacity: 0.4 },
        hovertemplate: "%{text}: %{x:.1f}, %{y:.1f}<extra>%{fullData.name}</extra>",
      });
      traces.push({
        x: [mean(x)],
        y: [mean(y)],
        meta: m.label,
        name,
        type: "scatter",
        mode: "markers",
        marker: { symbol: m.symbol, color: m.colour, size: 15, line: { width: 1.5, color: "#ffffff" } },
        hovertemplate: "mean: %{x:.1f}, %{y:.1f}<extra>%{fullData.name}</extra>",
      });
      table.push([m.label, shown(mean(x)), shown(mean(y))]);
    }
    const layout = base(400, { xaxis: axis(unit(DATA.primary)), yaxis: axis("worst 10 % of clients, %") });
    return { traces, layout, headers: ["rule", unit(DATA.primary), "worst 10 % of clients, %"], table };
  },

  personal() {
    const traces = [],
      table = [],
      found = methodsOf(here().personal);
    for (const m of found) {
      const p = here().personal[m.label],
        values = times([p.global, p.personal], 100),
        name = named(m);
      traces.push({
        x: values,
        y: [name, name],
        meta: m.label,
        name,
        type: "scatter",
        mode: "lines+markers",
        text: ["global model", "the client's own model"],
        line: { color: m.colour, width: 2 },
        marker: { symbol: ["circle-open", "circle"], color: m.colour, size: 12, line: { width: 2 } },
        hovertemplate: "%{text}: %{x:.1f} %<extra>%{fullData.name}</extra>",
      });
      table.push([m.label, ...values.map((v) => shown(v))]);
    }
    const layout = base(rows(found.length, 40), {
      xaxis: axis("mean over clients on their own test rows, %"),
      yaxis: axis("", { type: "category", autorange: "reversed", showgrid: false }),
    });
    return { traces, layout, headers: ["rule", "global model, %", "own model, %"], table };
  },

  tuning() {
    const traces = [],
      table = [],
      found = methodsOf(DATA.tuning);
    for (const m of found) {
      const best = DATA.tuning[m.label];
      traces.push({
        x: best.map((_, i) => i + 1),
        y: times(best, 100),
        meta: m.label,
        name: named(m),
        type: "scatter",
        mode: "lines+markers",
        line: { color: m.colour, dash: m.dash, width: 2 },
        marker: { symbol: m.symbol, color: m.colour, size: 7 },
        hovertemplate: "best of %{x}: %{y:.1f}<extra>%{fullData.name}</extra>",
      });
      best.forEach((v, i) => table.push([m.label, i + 1, shown(100 * v)]));
    }
    return {
      traces,
      layout: base(360, {
        xaxis: axis("trials", { dtick: found.length ? Math.ceil(table.length / found.length / 8) : 1 }),
        yaxis: axis("expected best validation score, %"),
      }),
      headers: ["rule", "trials", "expected best, %"],
      table,
    };
  },

  ranks() {
    const found = methodsOf(DATA.ranks).sort((a, b) => DATA.ranks[a.label] - DATA.ranks[b.label]);
    const traces = found.map((m) => ({
      x: [DATA.ranks[m.label]],
      y: [named(m)],
      meta: m.label,
      name: named(m),
      type: "scatter",
      mode: "markers",
      marker: { symbol: m.symbol, color: m.colour, size: 13 },
      error_x: DATA.critical
        ? { type: "data", array: [DATA.critical / 2], color: m.colour, thickness: 3, width: 4 }
        : undefined,
      hovertemplate: "mean rank %{x:.2f}<extra>%{fullData.name}</extra>",
    }));
    return {
      traces,
      layout: base(rows(found.length), {
        xaxis: axis("mean rank over data sets (1 is best)"),
        yaxis: axis("", { type: "category", autorange: "reversed", showgrid: false }),
      }),
      headers: ["rule", "mean rank"],
      table: found.map((m) => [m.label, shown(DATA.ranks[m.label], 2)]),
    };
  },
};
