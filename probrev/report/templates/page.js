"use strict";
(() => {
  const make = (name, attributes, text) => {
    const svg = ["svg", "g", "rect", "line", "circle", "path", "text", "title"].includes(name);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // Paper shows all that is folded.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
  addEventListener("hashchange", () => {
    const target = document.getElementById(location.hash.slice(1));
    const folded = target && target.closest("details");
    if (folded) { folded.open = true; target.scrollIntoView(); }
  });

  // Tables are sorted by a click on the head of a column.
  const UNITS = { "µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600 };
  const value = (cell) => {
    const text = cell.textContent.trim().replace(/,/g, "").replace("−", "-");
    const found = /^[<>]?\s*(-?[\d.]+(?:e[-+]?\d+)?|∞)\s*(µs|ms|s|min|h)?(?![a-z])/.exec(text);
    if (!found) return null;
    return (found[1] === "∞" ? Infinity : parseFloat(found[1])) * (UNITS[found[2]] || 1);
  };
  const sort = (table, column, head) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [row, value(row.cells[column]), row.cells[column].textContent]);
    const absent = (row) => row[2].trim() === "–" ? 1 : 0;
    rows.sort((a, b) => absent(a) - absent(b) || (up ? 1 : -1) * (
      a[1] !== null && b[1] !== null ? a[1] - b[1] : a[2].localeCompare(b[2])));
    table.tBodies[0].append(...rows.map((row) => row[0]));
  };
  const sortable = (table) => {
    if (table.tBodies[0].rows.length < 3) return;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button", class: "sort" });
      const words = [...head.querySelectorAll("a")];
      button.textContent = head.textContent;
      if (words.length) button.title = words[0].title;
      head.replaceChildren(button);
      button.addEventListener("click", () => sort(table, column, head));
    });
  };
  document.querySelectorAll("main table").forEach(sortable);

  // Any observation, unit by unit.
  const place = document.getElementById("any-observation");
  const stored = document.getElementById("units");
  if (!place || !stored) return;
  const data = JSON.parse(stored.textContent);
  if (data.looks.length < 2) return;
  const number = (x) => String(Number(x.toPrecision(3)));
  const WIDTH = 520, LEFT = 150, ROW = 32;
  const draw = (look) => {
    const all = [0, ...look.low, ...look.high, ...look.mean, ...(look.truth || []), ...look.estimates.flat()];
    const least = Math.min(...all), most = Math.max(...all) || 1;
    const at = (x) => LEFT + (WIDTH - LEFT - 12) * (x - least) / (most - least || 1);
    const rows = look.units.length + (look.folded ? 1 : 0), height = ROW * rows + 26;
    const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height, role: "img", class: "live",
      "aria-label": `Intervals and estimates of observation ${look.obs}; the table below has the numbers` });
    const say = (node, text) => { node.append(make("title", {}, text)); svg.append(node); };
    look.units.forEach((unit, row) => {
      const y = ROW * row + ROW / 2, label = `unit ${unit}`;
      svg.append(make("text", { x: LEFT - 10, y: y + 4, "text-anchor": "end" }, label));
      svg.append(make("line", { x1: LEFT, x2: WIDTH, y1: y + ROW / 2, y2: y + ROW / 2, class: "rule" }));
      say(make("rect", { x: at(look.low[row]), y: y - 9, height: 18, class: "interval",
        width: Math.max(2, at(look.high[row]) - at(look.low[row])) }),
        `${label}: ${data.posterior}, 90 % from ${number(look.low[row])} to ${number(look.high[row])}`);
      say(make("rect", { x: at(look.mean[row]) - 1.5, y: y - 11, height: 22, width: 3, class: "mean" }),
        `${label}: ${data.posterior}, mean ${number(look.mean[row])}`);
      data.inverses.forEach((inverse, index) => {
        const many = data.inverses.length, x = look.estimates[index][row];
        const dot = make("circle", { cx: at(x), r: 3.6, fill: inverse.color,
          cy: y + (many > 1 ? 22 * (index / (many - 1) - 0.5) : 0) });
        say(dot, `${label}: ${inverse.name} ${number(x)}`);
      });
      if (look.truth && look.truth[row] !== 0) {
        const x = at(look.truth[row]);
        say(make("path", { d: `M${x - 5} ${y - 5}l10 10m0 -10l-10 10`, class: "truth" }),
          `${label}: truth ${number(look.truth[row])}`);
      }
    });
    if (look.folded) svg.append(make("text", { x: LEFT - 10, y: ROW * rows - ROW / 2 + 4, "text-anchor": "end" }, look.folded));
    for (const x of [least, most]) svg.append(make("text", { x: at(x), y: height - 6, "text-anchor": x === most ? "end" : "start" }, number(x)));
    return svg;
  };
  const tabulate = (look) => {
    const header = ["unit", "90 % interval", "mean", ...(look.truth ? ["truth"] : []), ...data.inverses.map((one) => one.name)];
    const table = make("table", { class: "numbers" }), head = make("tr", {}), body = make("tbody", {});
    for (const name of header) head.append(make("th", { scope: "col" }, name));
    look.units.forEach((unit, row) => {
      const line = make("tr", {});
      line.append(make("th", { scope: "row" }, `unit ${unit}`));
      const cells = [`${number(look.low[row])} to ${number(look.high[row])}`, number(look.mean[row]),
        ...(look.truth ? [number(look.truth[row])] : []), ...look.estimates.map((one) => number(one[row]))];
      cells.forEach((text, index) => line.append(make("td", { "data-label": header[index + 1] }, text)));
      body.append(line);
    });
    const top = make("thead", {});
    top.append(head);
    table.append(top, body);
    sortable(table);
    return table;
  };
  const choice = make("select", { id: "which-observation" });
  for (const [index, look] of data.looks.entries())
    choice.append(make("option", { value: index }, `${look.obs}: ${data.error} of ${data.net} ${number(look.error)}`));
  const label = make("label", { for: "which-observation" }, "Observation ");
  const legend = make("p", { class: "legend" });
  for (const inverse of data.inverses) {
    const dot = make("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = inverse.color;
    const item = make("span", {});
    item.append(dot, inverse.name);
    legend.append(item, " ");
  }
  const picture = make("div", {}), numbers = make("div", { class: "scroll dense" });
  const show = () => {
    const look = data.looks[Number(choice.value)];
    picture.replaceChildren(draw(look));
    numbers.replaceChildren(tabulate(look));
  };
  choice.addEventListener("change", show);
  choice.value = String(data.looks.length - 1);
  const line = make("p", {});
  line.append(label, choice);
  place.append(line, legend, picture, numbers);
  place.hidden = false;
  show();
})();
