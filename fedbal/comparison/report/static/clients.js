"use strict";
// Charts of clients and of cost: what clients hold, what rules gave them, what a run takes.

Object.assign(CHARTS, {
  weights() {
    const c = holders(),
      rules = methodsOf(c.weights);
    const chosen = rules.find((m) => m.label === STATE.rule) || rules[0];
    const y = names(c.names),
      traces = mixture(c, y, true);
    const most = Math.max(1e-9, ...rules.flatMap((m) => c.weights[m.label].flat().filter((v) => v !== null)));
    if (chosen)
      traces.push({
        type: "heatmap",
        x: c.rounds,
        y,
        z: c.weights[chosen.label],
        xaxis: "x2",
        yaxis: "y",
        meta: [chosen.label],
        zmin: 0,
        zmax: most,
        colorscale: "Viridis",
        hoverongaps: false,
        colorbar: { thickness: 10, title: { text: "weight" }, outlinewidth: 0 },
        hovertemplate: "client %{y}, round %{x}<br>weight %{z:.3f}<extra>" + named(chosen) + "</extra>",
      });
    const layout = base(rows(c.names.length, 15, 260), {
      barmode: "stack",
      bargap: 0.1,
      xaxis: axis(narrow() ? "samples" : "training samples", { domain: [0, 0.3], nticks: 4 }),
      xaxis2: axis(chosen && !narrow() ? `round: weight by ${named(chosen)}` : "round", {
        domain: [0.34, 1],
        anchor: "y",
        showgrid: false,
        ...whole(c.rounds),
      }),
      yaxis: axis("client", { type: "category", autorange: "reversed", showgrid: false }),
      // Where a client was not asked: apart from the smallest weight in both themes.
      shapes: [
        {
          type: "rect",
          xref: "x2 domain",
          yref: "paper",
          x0: 0,
          x1: 1,
          y0: 0,
          y1: 1,
          opacity: 0.3,
          fillcolor: "#888888",
          line: { width: 0 },
          layer: "below",
        },
      ],
    });
    const table = c.names.map((n, i) => [
      n,
      c.samples[i],
      ...rules.map((m) => shown(mean(c.weights[m.label][i]), 4)),
    ]);
    return {
      traces,
      layout,
      headers: ["client", "training samples", ...rules.map((m) => `mean weight, ${m.label}`)],
      table,
    };
  },

  partition() {
    const c = holders(),
      x = names(c.names),
      traces = mixture(c, x, false);
    const layout = base(320, {
      barmode: "stack",
      bargap: 0.1,
      xaxis: axis("client", { type: "category", showgrid: false }),
      yaxis: axis("training samples"),
      showlegend: c.classes.length > 0 && c.classes.length <= 12,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", traceorder: "normal" },
    });
    return {
      traces,
      layout,
      headers: ["client", ...(c.classes.length ? c.classes : ["samples"])],
      table: c.names.map((n, i) => [n, ...(c.classes.length ? c.mix[i] : [c.samples[i]])]),
    };
  },

  cost() {
    const found = methodsOf(here().cost),
      stacked = narrow();
    const kinds = [
      ["megabytes", "MB, up and down"],
      ["client_seconds", "client-seconds"],
      ["wall_seconds", "wall seconds here"],
    ].filter(([key]) => found.some((m) => here().cost[m.label][key] !== null));
    const traces = kinds.flatMap(([key, title], at) =>
      found.map((m) => ({
        type: "bar",
        orientation: "h",
        x: [here().cost[m.label][key]],
        y: [named(m)],
        meta: m.label,
        name: named(m),
        xaxis: at ? `x${at + 1}` : "x",
        yaxis: stacked && at ? `y${at + 1}` : "y",
        marker: { color: m.colour },
        hovertemplate: `%{x:.4~g} ${title}<extra>%{fullData.name}</extra>`,
      })),
    );
    const layout = base((stacked ? kinds.length : 1) * rows(found.length, stacked ? 22 : 30), {
      barmode: "overlay",
      yaxis: axis("", { type: "category", autorange: "reversed", showgrid: false }),
    });
    kinds.forEach(([, title], at) => {
      const number = at ? at + 1 : "",
        part = 1 / kinds.length;
      layout[`xaxis${number}`] = axis(title, {
        nticks: 5,
        domain: stacked ? [0, 1] : [at * part + (at ? 0.02 : 0), (at + 1) * part],
        anchor: stacked ? `y${number}` : "y",
        rangemode: "tozero",
      });
      if (stacked)
        layout[`yaxis${number}`] = {
          ...layout.yaxis,
          domain: [1 - (at + 1) * part + (at < kinds.length - 1 ? 65 / layout.height : 0), 1 - at * part],
          anchor: `x${number}`,
        };
    });
    return {
      traces,
      layout,
      headers: ["rule", ...kinds.map(([, title]) => title)],
      table: found.map((m) => [m.label, ...kinds.map(([key]) => shown(here().cost[m.label][key]))]),
    };
  },
});

function mixture(c, names, sideways) {
  const classes = c.classes.length ? c.classes : ["samples"];
  return classes.map((name, k) => {
    const amount = c.names.map((_, i) => (c.classes.length ? c.mix[i][k] : c.samples[i]));
    return {
      type: "bar",
      orientation: sideways ? "h" : "v",
      name: text(name),
      x: sideways ? amount : names,
      y: sideways ? names : amount,
      marker: { color: classColour(k, classes.length), line: { width: 0 } },
      hovertemplate: `client %{${sideways ? "y" : "x"}}: %{${sideways ? "x" : "y"}} of %{fullData.name}<extra></extra>`,
    };
  });
}
