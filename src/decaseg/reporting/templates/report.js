"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const table = byId("cases");
  const pictures = new Map();
  for (const button of document.querySelectorAll("[data-open]")) pictures.set(button.dataset.open, button.querySelector("img"));
  const rows = table ? [...table.tBodies[0].rows] : [];
  const headings = table ? [...table.tHead.rows[0].cells] : [];
  let order = { column: 1, up: true };
  let metric = "dice";

  const mean = (numbers) => numbers.length ? numbers.reduce((a, b) => a + b, 0) / numbers.length : undefined;
  const value = (name, column) => {
    const scores = Object.hasOwn(data.cases, name) ? data.cases[name] : {};
    const of = (structure) => Object.hasOwn(scores, structure) ? scores[structure][metric] : undefined;
    return column > 1 ? of(data.structures[column - 2]) : mean(data.structures.map(of).filter((v) => v !== undefined));
  };
  const said = (number) => {
    if (number === undefined) return "";
    const unit = /_(mm|ml)$/.exec(metric);
    return unit ? `${number.toFixed(Math.abs(number) < 10 ? 2 : 1)} ${unit[1]}` : number.toFixed(3);
  };

  const fill = () => {
    for (const row of rows) {
      for (let column = 1; column < row.cells.length; column += 1) row.cells[column].textContent = said(value(row.dataset.case, column));
    }
  };
  const sort = () => {
    const { column, up } = order;
    const names = new Intl.Collator(undefined, { numeric: true });
    rows.sort((a, b) => {
      const byName = names.compare(a.dataset.case, b.dataset.case);
      if (column === 0) return up ? byName : -byName;
      const [x, y] = [value(a.dataset.case, column), value(b.dataset.case, column)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined) || byName;
      return (up ? x - y : y - x) || byName;
    });
    table.tBodies[0].append(...rows);
    headings.forEach((heading, i) => {
      if (i === column) heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    });
  };
  const filter = () => {
    const part = byId("filter").value.trim().toLowerCase();
    const below = byId("below").value === "" ? Infinity : Number(byId("below").value);
    const chosen = metric;
    let shown = 0;
    metric = "dice";
    for (const row of rows) {
      row.hidden = !row.dataset.case.toLowerCase().includes(part) || !((value(row.dataset.case, 1) ?? 0) < below);
      shown += !row.hidden;
    }
    metric = chosen;
    byId("count").textContent = `${shown} of ${rows.length}`;
  };

  const viewer = byId("viewer");
  let open = "";
  const listed = () => (rows.length ? rows.filter((row) => !row.hidden).map((row) => row.dataset.case) : [...pictures.keys()])
    .filter((name) => pictures.has(name));
  const show = (name) => {
    const picture = pictures.get(name);
    if (!picture) return;
    open = name;
    byId("viewer-name").textContent = name;
    byId("viewer-image").src = picture.src;
    byId("viewer-image").alt = picture.alt;
    if (!viewer.open) viewer.showModal();
  };
  const turn = (step) => {
    const names = listed();
    if (names.length) show(names[(Math.max(0, names.indexOf(open)) + step + names.length) % names.length]);
  };

  for (const button of document.querySelectorAll("[data-open]")) button.addEventListener("click", () => show(button.dataset.open));
  for (const dot of document.querySelectorAll(".dot")) {
    if (!pictures.has(dot.dataset.case)) continue;
    dot.dataset.live = "";
    dot.addEventListener("click", () => show(dot.dataset.case));
  }
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });

  if (table) {
    const button = (text, kind, action) => {
      const made = document.createElement("button");
      made.type = "button";
      made.className = kind;
      made.textContent = text;
      made.addEventListener("click", action);
      return made;
    };
    headings.forEach((heading, column) => heading.replaceChildren(button(heading.textContent, "sort", () => {
      order = { column, up: order.column === column ? !order.up : true };
      sort();
    })));
    for (const row of rows) {
      const name = row.dataset.case;
      if (pictures.has(name)) row.cells[0].firstChild.replaceWith(button(name, "open", () => show(name)));
    }
    byId("metric").addEventListener("change", (event) => { metric = event.target.value; fill(); sort(); });
    byId("filter").addEventListener("input", filter);
    byId("below").addEventListener("input", filter);
    const controls = document.querySelector(".controls");
    controls.addEventListener("submit", (event) => event.preventDefault());
    controls.hidden = false;
    filter();
  }
})();
