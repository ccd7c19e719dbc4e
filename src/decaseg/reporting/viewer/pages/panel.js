// The controls beside the picture: built from what the server says, telling the viewer by the functions handed in.

export const $ = (id) => document.getElementById(id);
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function swatch(colour) {
  const mark = make("i");
  mark.style.background = css(colour);
  return mark;
}

const three = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));

export function volume(ml) {
  return ml >= 10 ? `${ml.toFixed(1)} ml` : `${ml.toFixed(2)} ml`;
}

export function number(value) {
  const size = Math.abs(value);
  return size >= 100 || Number.isInteger(value) ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : value.toPrecision(2);
}

export function segments(choices, current, choose) {
  $("views").replaceChildren(
    ...choices.map(([key, title]) => {
      const button = make("button", { type: "button", textContent: title, onclick: () => choose(key) });
      button.setAttribute("aria-pressed", String(key === current));
      return button;
    }),
  );
}

export function layerRows(layers, states, change) {
  $("layers").replaceChildren(
    ...layers.map(({ key, title }, index) => {
      const state = states[key];
      const box = make("input", { type: "checkbox", checked: state.on, id: `on-${key}` });
      box.onchange = () => change(key, { on: box.checked });
      const words = make("output", { textContent: percent(state.opacity) });
      const slider = make("input", { type: "range", min: 0, max: 100, value: Math.round(100 * state.opacity) });
      slider.id = `opacity-${key}`;
      slider.setAttribute("aria-label", `Opacity of ${title.toLowerCase()}`);
      slider.setAttribute("aria-valuetext", percent(state.opacity));
      slider.oninput = () => {
        words.textContent = percent(slider.value / 100);
        slider.setAttribute("aria-valuetext", words.textContent);
        change(key, { opacity: slider.value / 100, on: true });
        box.checked = true;
      };
      return make(
        "div",
        { className: "layer" },
        make("label", { className: "check" }, box, make("span", { textContent: title })),
        slider,
        words,
        make("kbd", { textContent: String(index + 1) }),
      );
    }),
  );
}

const percent = (share) => `${Math.round(100 * share)} %`;

// A legend that is also where structures are switched off; of the layers that are on.
export function legend(layers, states, hidden, change) {
  const shown = layers.filter(({ key, parts }) => parts && states[key].on);
  $("parts-section").hidden = !shown.length;
  $("parts").replaceChildren(
    ...shown.map(({ key, title, parts }) => {
      const group = make("div", { className: "group" });
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", title);
      group.append(make("h3", { textContent: title }));
      for (const part of parts) {
        const id = `${key}/${part.name}`;
        const box = make("input", { type: "checkbox", checked: !hidden.has(id) });
        box.onchange = () => change(id, !box.checked);
        const name = make("span", { textContent: part.name });
        group.append(
          make("label", { className: "check" }, box, swatch(part.colour), name, make("small", { textContent: volume(part.volume_ml) })),
        );
      }
      return group;
    }),
  );
}

export function greys(facts, channel, low, high, changeChannel, changeWindow) {
  const children = [];
  if (facts.channels.length > 1) {
    const select = make("select", { id: "channel" }, ...facts.channels.map((c, i) => make("option", { value: i, textContent: c.name, selected: i === channel })));
    select.setAttribute("aria-label", "Channel");
    select.onchange = () => changeChannel(Number(select.value));
    children.push(select);
  }
  const { low: darkest, high: brightest } = facts.channels[channel];
  const width = brightest - darkest || 1;
  const ends = { low, high };
  const box = make("div", { className: "ends" });
  for (const [end, title] of [["low", "Black"], ["high", "White"]]) {
    const words = make("output", { textContent: number(ends[end]) });
    const slider = make("input", { type: "range", min: darkest - width / 2, max: brightest + width / 2, step: width / 200, value: ends[end] });
    slider.setAttribute("aria-label", `Grey value shown as ${title.toLowerCase()}`);
    slider.oninput = () => {
      ends[end] = Number(slider.value);
      words.textContent = number(ends[end]);
      changeWindow(ends.low, Math.max(ends.high, ends.low + width / 1000));
    };
    box.append(make("span", { className: "quiet", textContent: title }), slider, words);
  }
  $("window").replaceChildren(...children, box);
}

export function caseList(cases, current, choose) {
  $("turn").hidden = $("cases-section").hidden = cases.length < 2;
  $("place").textContent = `${current + 1} of ${cases.length}`;
  $("previous").disabled = current === 0;
  $("next").disabled = current === cases.length - 1;
  if ($("cases").children.length !== cases.length) {
    $("cases").replaceChildren(...cases.map((entry, index) => caseButton(entry, () => choose(index))));
  }
  [...$("cases").children].forEach((item, index) => {
    item.firstChild.setAttribute("aria-current", String(index === current));
    if (index === current) item.scrollIntoView({ block: "nearest" });
  });
}

function caseButton(entry, choose) {
  const button = make("button", { type: "button", onclick: choose });
  button.append(make("span", { className: "n", textContent: entry.name }));
  if (entry.mean_dice !== null) {
    button.append(make("span", { className: "d", textContent: three(entry.mean_dice) }));
    const bar = make("meter", { min: 0, max: 1, value: entry.mean_dice });
    bar.setAttribute("aria-hidden", "true");
    button.append(bar);
  }
  return make("li", {}, button);
}

export function score(entry) {
  const names = Object.keys(entry.dice);
  $("score").hidden = !names.length;
  const parts = names.map((name) => [name, entry.dice[name]]);
  if (names.length !== 1) parts.unshift(["mean Dice", entry.mean_dice]);
  else parts[0][0] = `Dice, ${parts[0][0]}`;
  $("score").replaceChildren(...parts.map(([name, value]) => make("span", { textContent: `${name} ` }, make("b", { textContent: three(value) }))));
}

export function about(facts) {
  const rows = [
    ["Voxels", facts.shape.join(" × ")],
    ["Spacing", `${facts.spacing_mm.map((s) => Number(s.toFixed(3))).join(" × ")} mm`],
    ["Stored as", facts.orientation],
  ];
  if (facts.tilt_deg >= 0.5) rows.push(["Slanted", `${facts.tilt_deg}°`]);
  if (facts.step.some((s) => s > 1)) rows.push(["Thinned", `every ${facts.step.join(", ")} voxels shown`]);
  if (facts.greys) rows.push(["Grey values", `rounded to ${facts.greys} steps`]);
  $("facts").replaceChildren(...rows.flatMap(([what, value]) => [make("dt", { textContent: what }), make("dd", { textContent: value })]));
}

export function keyList(place, keys) {
  const rows = keys.flatMap(([names, what]) => [
    make("dt", {}, ...names.map((name) => make("kbd", { textContent: name }))),
    make("dd", { textContent: what }),
  ]);
  $(place).replaceChildren(...rows);
}
