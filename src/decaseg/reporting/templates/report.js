"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const data = JSON.parse(byId("data").textContent);

  // Colours: as the system has them, until somebody chooses. A page from disk may have no storage; then it forgets.
  const remembered = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("decaseg-theme");
      localStorage.setItem("decaseg-theme", value);
    } catch { /* forgets */ }
    return value;
  };
  const theme = document.querySelector(".theme");
  const paint = (value) => {
    if (value === "light" || value === "dark") document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
  };
  for (const radio of theme.querySelectorAll("input")) {
    radio.checked = radio.value === (remembered() ?? "auto");
    radio.addEventListener("change", () => { paint(radio.value); remembered(radio.value); });
  }
  paint(remembered());
  theme.hidden = false;

  // Words beside the pointer, instead of the browser's own, which come late and not on a phone.
  const tip = byId("tip");
  for (const title of all("svg title")) {
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }
  const say = (event) => {
    const mark = event.target.closest?.("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    if (tip.textContent !== mark.dataset.tip) tip.textContent = mark.dataset.tip;
    const { width, height } = tip.getBoundingClientRect();
    const above = event.clientY - height - 14;
    tip.style.left = `${Math.max(6, Math.min(event.clientX - width / 2, document.documentElement.clientWidth - width - 6))}px`;
    tip.style.top = `${above > 4 ? above : event.clientY + 20}px`;
  };
  document.addEventListener("pointermove", say);
  document.addEventListener("pointerdown", say);
  document.addEventListener("scroll", () => { tip.hidden = true; }, true);

  // Paper cannot be opened: everything is, while printing.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])").filter((part) => !part.classList.contains("motion"));
    for (const part of closed) part.open = true;
  });
  addEventListener("afterprint", () => { for (const part of closed) part.open = false; });

  const viewer = byId("viewer");
  if (!viewer) return;
  const table = byId("case-table");
  const pictures = new Map();
  for (const button of all("[data-picture]")) pictures.set(button.dataset.open, button.querySelector("img"));
  const rows = [...table.tBodies[0].rows];
  const headings = [...table.tHead.rows[0].cells];
  let order = { column: 1, up: true };
  let metric = "dice";

  const own = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);
  const mean = (numbers) => (numbers.length ? numbers.reduce((a, b) => a + b, 0) / numbers.length : undefined);
  const valueOf = (name, column, of = metric) => {
    const kind = headings[column].dataset.kind;
    if (kind === "change") return own(data.changes, name);
    if (kind === "marks") return -(own(data.marks, name) ?? []).length;
    const scores = own(data.cases, name) ?? {};
    const one = (structure) => own(own(scores, structure) ?? {}, of);
    return kind === "structure" ? one(data.structures[column - 2]) : mean(data.structures.map(one).filter((v) => v !== undefined));
  };
  const said = (number) => {
    if (number === undefined) return "";
    const unit = /_(mm|ml)$/.exec(metric);
    return unit ? `${number.toFixed(Math.abs(number) < 10 ? 2 : 1)} ${unit[1]}` : number.toFixed(3);
  };
  const numeric = (column) => ["mean", "structure"].includes(headings[column].dataset.kind);

  const fill = () => {
    for (const row of rows) {
      headings.forEach((_, column) => {
        if (numeric(column)) row.cells[column].textContent = said(valueOf(row.dataset.case, column));
      });
    }
    const chosen = byId("metric").selectedOptions[0].textContent;
    for (const words of headings[1].children) words.textContent = `Mean ${chosen}`;
  };
  const names = new Intl.Collator(undefined, { numeric: true });
  const sort = () => {
    const { column, up } = order;
    rows.sort((a, b) => {
      const byName = names.compare(a.dataset.case, b.dataset.case);
      if (column === 0) return up ? byName : -byName;
      const [x, y] = [valueOf(a.dataset.case, column), valueOf(b.dataset.case, column)];
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
    const marked = byId("marked").checked;
    let shown = 0;
    for (const row of rows) {
      const name = row.dataset.case;
      row.hidden = !name.toLowerCase().includes(part) || !((valueOf(name, 1, "dice") ?? 0) < below)
        || (marked && own(data.marks, name) === undefined);
      shown += !row.hidden;
    }
    byId("count").textContent = `${shown} of ${rows.length}`;
  };

  let open = "";
  const listed = () => rows.filter((row) => !row.hidden).map((row) => row.dataset.case).filter((name) => pictures.has(name));
  const show = (name) => {
    const picture = pictures.get(name);
    if (!picture) return;
    open = name;
    byId("viewer-name").textContent = name;
    const dice = data.structures.map((structure) => [structure, own(own(own(data.cases, name) ?? {}, structure) ?? {}, "dice")]);
    byId("viewer-scores").textContent = dice.filter(([, v]) => v !== undefined).map(([s, v]) => `${s} ${v.toFixed(3)}`).join("   ");
    byId("viewer-image").src = picture.src;
    byId("viewer-image").alt = picture.alt;
    tip.hidden = true;
    if (!viewer.open) viewer.showModal();
  };
  const turn = (step) => {
    const cases = listed();
    if (cases.length) show(cases[(Math.max(0, cases.indexOf(open)) + step + cases.length) % cases.length]);
  };

  for (const button of all("[data-open]")) {
    if (pictures.has(button.dataset.open)) button.addEventListener("click", () => show(button.dataset.open));
    else button.disabled = true;
  }
  for (const mark of all(".dot")) {
    if (!pictures.has(mark.dataset.case)) continue;
    mark.classList.add("live");
    mark.addEventListener("click", () => show(mark.dataset.case));
  }
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });

  const button = (text, kind, action) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = kind;
    made.textContent = text;
    made.addEventListener("click", action);
    return made;
  };
  headings.forEach((heading, column) => {
    const words = document.createElement("span"); // browsers leave buttons out of a heading that paper repeats
    words.className = "on-paper";
    words.textContent = heading.textContent;
    heading.replaceChildren(button(heading.textContent, "sort", () => {
      order = { column, up: order.column === column ? !order.up : true };
      sort();
    }), words);
  });
  for (const row of rows) {
    const name = row.dataset.case;
    if (pictures.has(name)) row.cells[0].firstElementChild.replaceWith(button(name, "open", () => show(name)));
  }
  byId("metric").addEventListener("change", (event) => { metric = event.target.value; fill(); sort(); });
  for (const id of ["filter", "below", "marked"]) byId(id).addEventListener("input", filter);
  const controls = document.querySelector(".controls");
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.hidden = false;
  filter();
})();
