// Drives NiiVue: which case, which layers, where the crosshair is. The server's names and colours, nothing from elsewhere.
// In a page that carries its case, `packed` says for each of the server's paths where its bytes lie in the page.

import { Niivue } from "./niivue.js";
import { GESTURES, keysOf } from "./keys.js";
import { lookup, rims } from "./labels.js";
import { $, about, caseList, greys, keyList, layerRows, legend, make, number, score, segments, swatch } from "./panel.js";

const VIEWS = [["all", "All"], ["axial", "Axial"], ["coronal", "Coronal"], ["sagittal", "Sagittal"], ["render", "3D"], ["montage", "Montage"]];
const SIDES = [["front", 180, 0], ["right", 270, 0], ["back", 0, 0], ["left", 90, 0], ["above", 180, 90]]; // azimuth, elevation

const nv = new Niivue({
  backColor: [0, 0, 0, 1], crosshairColor: [1, 0.78, 0.3, 0.8], crosshairWidthUnit: "mm",
  fontColor: [0.93, 0.95, 0.97, 1], isRadiologicalConvention: true, sagittalNoseLeft: true, show3Dcrosshair: false, showAllOrientationMarkers: true,
  multiplanarLayout: 2, multiplanarShowRender: 1, tileMargin: 10, centerMosaic: true, dragAndDropEnabled: false, logLevel: "error", loadingText: "",
  viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "", isNearestInterpolation: false, renderOverlayBlend: 1,
  isOrientCube: true, dragMode: 0, // the right button is ours: it changes the grey values
});
const where = (path) => globalThis.packed?.[path] ?? path;
const states = { image: { on: true, opacity: 1 }, prediction: { on: false, opacity: 0.6 }, truth: { on: false, opacity: 0.6 }, verdict: { on: false, opacity: 0.6 } };
const hidden = new Set();
let cases = [], current = 0, facts = null, channel = null, view = "all", turn = 0, layers = [], loading = Promise.resolve();

async function answer(path) {
  const response = await fetch(where(path));
  if (!response.ok) throw new Error((await response.text()).trim() || `the server said ${response.status}`);
  const document_ = await response.json();
  if (document_.error) throw new Error(document_.error);
  return document_;
}

async function show(index, wanted = null) {
  const mine = ++turn;
  const here = complete() && facts.name === cases[index].name ? [...nv.frac2mm(nv.scene.crosshairPos, 0, true)].slice(0, 3) : null;
  delete document.body.dataset.shown;
  $("busy").hidden = false;
  $("message").hidden = true;
  $("hover").hidden = true;
  $("mm").textContent = "";
  $("location").replaceChildren();
  current = index;
  caseList(cases, current, show);
  $("case").textContent = document.title = cases[index].name;
  score(cases[index]);
  try {
    const found = await answer(`${index}/case.json`);
    if (mine !== turn) return;
    const chosen = Math.min(wanted ?? channel ?? found.channel, found.channels.length - 1);
    const { name, low, high } = found.channels[chosen];
    const image = { url: where(`${index}/image-${chosen}.nii`), name: `image-${chosen}.nii`, colormap: "gray", opacity: 1, cal_min: low, cal_max: high };
    const maps = found.layers.map(({ key }) => ({ url: where(`${index}/${key}.nii`), name: `${key}.nii`, colormap: "red", opacity: 0 }));
    // One after the other: NiiVue adds what it loads to one list, and two cases must never be laid over each other.
    loading = loading.catch(() => {}).then(() => mine === turn && nv.loadVolumes([image, ...maps]));
    await loading;
    if (mine !== turn) return;
    facts = found;
    channel = chosen;
    layers = [{ key: "image", title: name === "image" ? "Image" : name }, ...found.layers];
    start(layers);
    paint();
    fit();
    await soften();
    if (mine !== turn) return;
    look(view);
    document.body.dataset.shown = facts.name;
    moveTo(here ?? facts.centre_mm);
    panel();
    $("busy").hidden = true;
    if (index + 1 < cases.length) fetch(`${index + 1}/case.json`).catch(() => {}); // read ahead
  } catch (error) {
    if (mine === turn) fail(error);
  }
}

// Nothing of another case may stay beside this one's name.
function fail(error) {
  for (const id of ["layers", "parts", "window", "facts", "location"]) $(id).replaceChildren();
  $("mm").textContent = "";
  $("busy").hidden = true;
  $("message").textContent = error.message;
  $("message").hidden = false;
  document.body.dataset.shown = "";
}

let started = "";
// What is on at first: right and wrong where there is truth, else the prediction; later what the reader chose stays.
function start(found) {
  const keys = found.map(({ key }) => key).join();
  if (keys === started) return;
  started = keys;
  const first = ["verdict", "prediction", "truth"].find((key) => found.some((layer) => layer.key === key));
  for (const key of ["verdict", "prediction", "truth"]) states[key].on = key === first;
}

function paint() {
  layers.forEach(({ key, parts }, index) => {
    const volume = nv.volumes[index];
    if (!volume) return;
    if (parts) {
      volume.setColormapLabel(lookup(parts, (name) => hidden.has(`${key}/${name}`)));
      volume.filled ??= volume.img;
      volume.img = $("outline").checked ? rims(volume.filled, volume.hdr.dims, view, facts.orientation) : volume.filled;
    }
    volume.opacity = states[key].on ? states[key].opacity : 0;
  });
  nv.updateGLVolume();
}

function panel() {
  segments(VIEWS, view, look);
  layerRows(layers, states, changeLayer);
  legend(layers, states, hidden, changePart);
  const { cal_min, cal_max } = nv.volumes[0];
  greys(facts, channel, cal_min, cal_max, (wanted) => show(current, wanted), changeWindow);
  about(facts);
}

function changeLayer(key, change) {
  Object.assign(states[key], change);
  paint();
  if ("on" in change) legend(layers, states, hidden, changePart);
  tell();
}

function changePart(id, hide) {
  hide ? hidden.add(id) : hidden.delete(id);
  paint();
}

function changeWindow(low, high) {
  nv.volumes[0].cal_min = low;
  nv.volumes[0].cal_max = high;
  nv.updateGLVolume();
}

// The body fills its tile, however much air was stored round it; lines keep their width on the screen.
function fit() {
  const { centre, size } = facts.body_mm;
  const whole = extentMm();
  const zoom = Math.min(2, Math.max(1, 0.95 * Math.min(...[0, 1, 2].map((i) => whole[i] / Math.max(size[i], 1e-3)))));
  const middle = nv.frac2mm([0.5, 0.5, 0.5]), body = nv.frac2mm(nv.mm2frac(centre, 0, true)); // in NiiVue's unslanted millimetres
  nv.scene.pan2Dxyzmm = [...[0, 1, 2].map((i) => middle[i] - zoom * body[i]), zoom];
  nv.scene.volScaleMultiplier = 1.05 * zoom;
  const side = facts.centre_mm[0] > centre[0] ? 235 : 125; // from the side on which the structure is, a little from the front
  nv.setRenderAzimuthElevation(side, 12);
  delete $("canvas").dataset.side;
  nv.opts.crosshairWidth = Math.max(...whole) / zoom / 400;
  nv.opts.crosshairGap = Math.max(...whole) / zoom / 40;
}

// A crop has tissue up to its faces, which would hide the structures in 3D: there only edges of the image stay visible.
const SOFT = 0.4, SOFTER = 0.9;
let softness = SOFT;
async function soften() {
  const { size } = facts.body_mm;
  const cropped = extentMm().every((whole, i) => size[i] > 0.9 * whole);
  if (softness === (cropped ? SOFTER : SOFT)) return;
  softness = cropped ? SOFTER : SOFT;
  await nv.setGradientOpacity(softness);
}

function extentMm() {
  const [low, high] = [0, 1].map((f) => [...nv.frac2mm([f, f, f], 0, true)]);
  return [0, 1, 2].map((i) => Math.abs(high[i] - low[i]));
}

// A double click enlarges what is below it, a second one goes back to all.
function enlarge(event) {
  event.stopImmediatePropagation(); // NiiVue would choose grey values of its own
  const box = $("canvas").getBoundingClientRect();
  const x = (event.clientX - box.left) * nv.uiData.dpr, y = (event.clientY - box.top) * nv.uiData.dpr;
  const tile = nv.screenSlices.find(({ leftTopWidthHeight: [left, top, width, height] }) => x >= left && x < left + width && y >= top && y < top + height);
  if (view !== "all") look("all");
  else if (tile) look(["axial", "coronal", "sagittal", "", "render"][tile.axCorSag] || "all");
}

// As at a viewing station: the right button dragged up darkens, down brightens, to the right widens.
let grip = null;
function grab(event) {
  if (event.button !== 2 || !complete()) return;
  const { cal_min, cal_max } = nv.volumes[0];
  grip = { x: event.clientX, y: event.clientY, middle: (cal_min + cal_max) / 2, width: cal_max - cal_min };
  $("canvas").setPointerCapture(event.pointerId);
}

function pull(event) {
  if (!grip) return false;
  const width = grip.width * Math.exp((event.clientX - grip.x) / 250);
  const middle = grip.middle + ((grip.y - event.clientY) / 300) * grip.width;
  changeWindow(middle - width / 2, middle + width / 2);
  return true;
}

function release() {
  if (grip) panel();
  grip = null;
}

// In a wide, low window all four stand in a row.
const arrange = () => nv.setMultiplanarLayout($("canvas").clientWidth > 2.2 * $("canvas").clientHeight ? 3 : 2);

function look(wanted) {
  view = wanted;
  if ($("outline").checked) paint();
  const types = { axial: nv.sliceTypeAxial, coronal: nv.sliceTypeCoronal, sagittal: nv.sliceTypeSagittal, render: nv.sliceTypeRender };
  nv.setSliceMosaicString(view === "montage" ? mosaic() : "");
  if (view !== "montage") nv.setSliceType(types[view] ?? nv.sliceTypeMultiplanar);
  segments(VIEWS, view, look);
}

// Looks at the 3D view from the patient's front, right, back, left, above, in turn.
function turn3d() {
  const [side, azimuth, elevation] = SIDES[(SIDES.findIndex(([name]) => name === $("canvas").dataset.side) + 1) % SIDES.length];
  if (view !== "all" && view !== "render") look("render");
  $("canvas").dataset.side = side;
  nv.setRenderAzimuthElevation(azimuth, elevation);
  $("said").textContent = `3D from the patient’s ${side}`.replace("the patient’s above", "above");
}

// Axial slices from foot to head through the structures, a little beyond both ends; each with its millimetres.
function mosaic() {
  const [rows, columns] = $("canvas").clientWidth > $("canvas").clientHeight ? [3, 4] : [4, 3];
  const [low, high] = facts.found_z_mm, last = rows * columns - 1;
  const places = Array.from({ length: last + 1 }, (_, i) => (low + ((high - low) * i) / last).toFixed(1));
  return Array.from({ length: rows }, (_, r) => `A ${places.slice(r * columns, (r + 1) * columns).join(" ")}`).join("; ");
}

function moveTo(mm) {
  nv.scene.crosshairPos = nv.mm2frac(mm, 0, true);
  nv.drawScene();
  tell();
}

// While a case is loading, what is drawn and what is known belong to different cases.
const complete = () => facts !== null && Boolean(document.body.dataset.shown) && nv.volumes.length === layers.length;

// Place, grey value and structures at a place in millimetres.
function at(mm) {
  const values = nv.volumes.map((volume) => {
    const [x, y, z] = volume.mm2vox(mm);
    const shown = volume.img;
    volume.img = volume.filled ?? shown; // with outlines only, what is inside still has its name
    const value = volume.getValue(x, y, z);
    volume.img = shown;
    return value;
  });
  const found = [];
  layers.forEach(({ key, title, parts }, index) => {
    const part = parts?.find(({ value }) => value === Math.round(values[index]));
    if (parts) found.push({ key, title, part });
  });
  return { grey: values[0], found };
}

// The file's own millimetres, RAS: many a file has its origin in a corner, so "87 mm left" would be said of the right half.
const place = (mm) => ["x", "y", "z"].map((axis, i) => `${axis} ${mm[i].toFixed(1).replace("-", "−")}`).join("   ");

function tell() {
  if (!complete()) return;
  const mm = [...nv.frac2mm(nv.scene.crosshairPos, 0, true)].slice(0, 3);
  const { grey, found } = at(mm);
  $("mm").textContent = `${place(mm)} mm`;
  const words = found.map(({ title, part }) => {
    const span = make("span", { className: "key" }, make("span", { className: "label", textContent: `${title}: ` }));
    if (part) span.append(swatch(part.colour));
    span.append(part ? part.name : "nothing");
    return span;
  });
  const value = make("span", { className: "key" }, make("span", { className: "label", textContent: `${layers[0].title}: ` }), number(grey));
  $("location").replaceChildren(value, ...words);
}

function hover(event) {
  if (pull(event)) return;
  const box = $("canvas").getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const frac = complete() ? nv.canvasPos2frac([x * nv.uiData.dpr, y * nv.uiData.dpr]) : [-1];
  const found = frac[0] < 0 ? [] : at([...nv.frac2mm(frac, 0, true)].slice(0, 3)).found.filter(({ key, part }) => part && states[key].on);
  $("hover").hidden = !found.length;
  if (!found.length) return;
  const lines = found.map(({ title, part }) => make("span", {}, swatch(part.colour), found.length > 1 ? `${title}: ${part.name}` : part.name));
  $("hover").replaceChildren(...lines);
  const left = Math.min(x + 16, box.width - $("hover").offsetWidth - 6), top = Math.min(y + 16, box.height - $("hover").offsetHeight - 6);
  $("hover").style.transform = `translate(${left}px, ${top}px)`;
}

function step([axis, sign]) {
  const spacing = Math.max(...[0, 1, 2].map((i) => Math.abs(nv.volumes[0].matRAS[axis * 4 + i])), 0.1);
  const mm = [...nv.frac2mm(nv.scene.crosshairPos, 0, true)].slice(0, 3);
  mm[axis] += sign * spacing * (axis === 0 ? -1 : 1); // radiological: the picture's left is the patient's right
  const frac = nv.mm2frac(mm, 0, true);
  if ([...frac].every((f) => f >= 0 && f <= 1)) moveTo(mm);
}

function toggle(number) {
  const layer = layers[number - 1];
  if (!layer) return;
  changeLayer(layer.key, { on: !states[layer.key].on });
  layerRows(layers, states, changeLayer);
}

const KEYS = keysOf({
  next: () => current + 1 < cases.length && show(current + 1),
  previous: () => current > 0 && show(current - 1),
  toggle,
  nextView: () => look(VIEWS[(VIEWS.findIndex(([key]) => key === view) + 1) % VIEWS.length][0]),
  turn3d,
  outline: () => $("outline").click(),
  step,
  fade,
  home: () => moveTo(facts.centre_mm),
  reset,
  help: () => ($("help").open ? $("help").close() : $("help").showModal()),
});

function fade(by) {
  for (const { key, parts } of layers) {
    if (parts && states[key].on) states[key].opacity = Math.min(1, Math.max(0.1, Math.round(10 * (states[key].opacity + by)) / 10));
  }
  paint();
  layerRows(layers, states, changeLayer);
}

function reset() {
  fit();
  const { low, high } = facts.channels[channel];
  changeWindow(low, high);
  moveTo(facts.centre_mm);
  panel();
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input[type=range], select") && event.key.startsWith("Arrow");
  const turning = event.key.startsWith("Page") && event.target !== $("canvas") && event.target !== document.body;
  if (typing || turning || (!complete() && !["n", "p", "?"].includes(event.key)) || ($("help").open && event.key !== "?")) return;
  const found = KEYS.find(([names]) => names.includes(event.key));
  if (!found) return;
  event.preventDefault();
  event.stopPropagation();
  found[3](event.key);
}

async function open() {
  keyList("keys", KEYS.map(([, names, what]) => [names, what]));
  keyList("gestures", GESTURES);
  const canvas = $("canvas");
  if (!document.createElement("canvas").getContext("webgl2")) throw new Error("This browser has no WebGL 2, which the viewer draws with; switch on hardware acceleration or use another browser.");
  canvas.addEventListener("dblclick", enlarge, true);
  await nv.attachToCanvas(canvas);
  nv.onLocationChange = tell;
  arrange();
  window.addEventListener("resize", arrange);
  await nv.setVolumeRenderIllumination(0.5);
  await nv.setGradientOpacity(SOFT);
  canvas.addEventListener("pointermove", hover);
  canvas.addEventListener("pointerdown", grab);
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => ($("hover").hidden = true));
  window.addEventListener("keydown", press, true);
  $("previous").onclick = () => show(current - 1);
  $("next").onclick = () => show(current + 1);
  $("outline").onchange = paint;
  $("help-button").onclick = () => $("help").showModal();
  const document_ = await answer("cases.json");
  cases = document_.cases;
  $("title").textContent = document_.title;
  await show(document_.start);
}

open().catch(fail);
