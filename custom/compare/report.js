// Charts that can be hovered and toggled, and tables that can be sorted. No library, no network.
"use strict";
(() => {
  const { charts, colours } = JSON.parse(document.getElementById("data").textContent);
  const W = 960, H = 420, LEFT = 64, RIGHT = 16, TOP = 14, BOTTOM = 44;
  const DASHES = ["", "8 4", "2 3", "8 3 2 3"];
  const SVG = "http://www.w3.org/2000/svg";

  function add(parent, name, attributes = {}, text = "") {
    const html = parent.namespaceURI !== SVG && name !== "svg";
    const made = html ? document.createElement(name) : document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return parent.appendChild(made);
  }

  function ticks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-12); i++) found.push(i * step + 0);
    return found;
  }

  const shown = (value) => value.toLocaleString("en",
    Math.abs(value) < 1000 ? { maximumSignificantDigits: 4 } : { maximumFractionDigits: 1 });

  function extent(values, margin) {
    const low = Math.min(...values), high = Math.max(...values);
    const room = (high - low || Math.abs(high) || 1) * margin;
    return [low - room, high + room];
  }

  function draw(figure, chart) {
    add(figure, "div", { class: "note" }, chart.title);
    const legend = add(figure, "div", { class: "legend" });
    const svg = add(figure, "svg", { viewBox: `0 0 ${W} ${H}`, role: "img", tabindex: 0 });
    svg.setAttribute("aria-label", chart.title);
    const numbers = (name) => chart.lines.flatMap((line) => line[name] || []);
    const heights = [...numbers("y"), ...numbers("low"), ...numbers("high")];
    const levels = chart.references.map((reference) => reference.score);
    const [x0, x1] = [Math.min(0, ...numbers("x")), extent(numbers("x"), 0.02)[1]];
    const [y0, y1] = chart.range || extent([...heights, ...levels], 0.05);
    const x = (v) => LEFT + (v - x0) / (x1 - x0) * (W - LEFT - RIGHT);
    const y = (v) => H - BOTTOM - (v - y0) / (y1 - y0) * (H - TOP - BOTTOM);
    axes(svg, chart, { x, y, x0, x1, y0, y1 });
    const toggle = (label, parts, colour) => {
      const button = add(legend, "button", { type: "button", "aria-pressed": "true" });
      if (colour) add(button, "span", { class: "swatch", style: `background: ${colour}` });
      button.append(label);
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        for (const part of parts) part.classList.toggle("hidden", !on);
      });
    };
    chart.lines.forEach((line, i) => {
      line.colour = colours[i % colours.length];
      const dash = DASHES[i % DASHES.length];
      line.group = add(svg, "g", { "data-line": line.label });
      toggle(line.label, [line.group], line.colour);
      const at = (values) => values.map((v, j) => `${x(line.x[j])},${y(v)}`);
      if (line.low) {
        const points = [...at(line.high), ...at(line.low).reverse()].join(" ");
        add(line.group, "polygon", { class: "band", points, fill: line.colour });
      }
      const look = { class: "curve", stroke: line.colour, "stroke-dasharray": dash };
      add(line.group, "polyline", { ...look, points: at(line.y).join(" ") });
      if (line.x.length < 60) {
        line.y.forEach((v, j) => add(line.group, "circle",
          { cx: x(line.x[j]), cy: y(v), r: 2.5, fill: line.colour }));
      }
    });
    for (const reference of chart.references) {
      const group = add(svg, "g"), at = y(reference.score);
      add(group, "line", { class: "reference", x1: LEFT, x2: W - RIGHT, y1: at, y2: at });
      const label = `${reference.label} ${shown(reference.score)}`;
      const right = { x: W - RIGHT - 4, y: at - 4, "text-anchor": "end" };
      add(add(group, "text", right, label), "title", {}, reference.source);
      toggle(label, [group]);
    }
    hover(figure, svg, chart, x);
  }

  function axes(svg, chart, { x, y, x0, x1, y0, y1 }) {
    for (const tick of ticks(y0, y1, 6)) {
      add(svg, "line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(tick), y2: y(tick) });
      add(svg, "text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, shown(tick));
    }
    for (const tick of ticks(x0, x1, 8)) {
      add(svg, "line", { class: "grid", x1: x(tick), x2: x(tick), y1: TOP, y2: H - BOTTOM });
      add(svg, "text", { x: x(tick), y: H - BOTTOM + 18, "text-anchor": "middle" }, shown(tick));
    }
    const middle = { x: (LEFT + W - RIGHT) / 2, y: H - 6, "text-anchor": "middle" };
    add(svg, "text", middle, chart.x);
  }

  // The measured point nearest to the pointer, and what every visible line has there.
  function hover(figure, svg, chart, x) {
    const cross = add(svg, "line", { class: "cross hidden", y1: TOP, y2: H - BOTTOM });
    const tip = add(figure, "div", { class: "tip hidden", "aria-hidden": "true" });
    const every = [...new Set(chart.lines.flatMap((line) => line.x))];
    every.sort((a, b) => a - b);
    let current = -1;
    const hide = () => [cross, tip].forEach((part) => part.classList.add("hidden"));
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const pointer = (event.clientX - box.left) / box.width * W;
      const near = every.reduce((a, b) =>
        Math.abs(x(b) - pointer) < Math.abs(x(a) - pointer) ? b : a);
      show(near);
    });
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(every[Math.min(Math.max(current + step, 0), every.length - 1)]);
    });
    function show(near) {
      current = every.indexOf(near);
      const box = svg.getBoundingClientRect();
      const lines = chart.lines.filter((line) => !line.group.classList.contains("hidden"));
      tip.replaceChildren();
      add(tip, "strong", {}, `${shown(near)} ${chart.unit}`);
      for (const line of lines) {
        const j = line.x.indexOf(near);
        if (j < 0) continue;
        const row = add(tip, "div");
        add(row, "span", { class: "swatch", style: `background: ${line.colour}` });
        const band = line.low ? ` [${shown(line.low[j])}, ${shown(line.high[j])}]` : "";
        row.append(`${line.label}: ${shown(line.y[j])}${band}`);
      }
      cross.setAttribute("x1", x(near));
      cross.setAttribute("x2", x(near));
      [cross, tip].forEach((part) => part.classList.remove("hidden"));
      const left = x(near) / W * box.width;
      const beside = left > box.width / 2 ? left - tip.offsetWidth - 12 : left + 12;
      tip.style.left = `${Math.max(beside, 0)}px`;
    }
  }

  // By the number that a cell begins with; what begins with none comes last, by its text.
  function sortable(table) {
    const body = table.tBodies[0];
    const value = (row, i) => {
      const text = row.cells[i].textContent, found = /^-?[\d,]*\.?\d+/.exec(text);
      return { text, number: found ? Number(found[0].replaceAll(",", "")) : null };
    };
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      head.firstChild.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
        const rows = [...body.rows].sort((a, b) => {
          const [p, q] = [value(a, i), value(b, i)];
          if ((p.number === null) !== (q.number === null)) return p.number === null ? 1 : -1;
          return down * (p.number === null ? p.text.localeCompare(q.text) : p.number - q.number);
        });
        body.append(...rows);
      });
    });
  }

  for (const figure of document.querySelectorAll("[data-chart]"))
    draw(figure, charts[figure.dataset.chart]);
  document.querySelectorAll("table.sortable").forEach(sortable);
})();
