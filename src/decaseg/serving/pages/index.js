"use strict";
// All that comes from the server is put in as text, never as HTML.
const at = (id) => document.getElementById(id);
let token = "";
let job = null;

const ask = (path, options = {}) =>
  fetch(path, { ...options, headers: { ...(options.headers || {}), ...(token ? { Authorization: "Bearer " + token } : {}) } });

const row = (body, cells) => {
  const line = body.insertRow();
  for (const cell of cells) line.insertCell().textContent = cell;
};

async function showModel() {
  const answer = await ask("/model");
  at("asks").hidden = answer.status !== 401;
  if (!answer.ok) { at("state").textContent = ""; return; }
  const model = await answer.json();
  at("name").textContent = model.name;
  const table = document.createElement("table");
  row(table, ["structures", Object.entries(model.labels).map(([name, value]) => `${value} ${name}`).join(", ")]);
  row(table, ["channels", model.channels.join(", ")]);
  row(table, ["engine", `${model.engine}, ${model.precision}`]);
  for (const warning of model.warnings) row(table, ["warning", warning]);
  at("model").replaceChildren(table);
  at("upload").hidden = false;
}

async function refused(answer) {
  let said = answer.statusText;
  try { said = (await answer.json()).detail; } catch { /* no JSON */ }
  at("state").textContent = `Refused (${answer.status}): ${said}`;
}

async function follow() {
  for (;;) {
    const answer = await ask(`/jobs/${job}`);
    if (!answer.ok) return refused(answer);
    const found = await answer.json();
    const { done, total } = found.windows;
    at("bar").value = total ? done / total : 0;
    at("state").textContent = found.state === "queued" ? `waiting, ${found.position} before it`
      : found.state === "running" ? `${found.stage} ${total ? `${done} of ${total} windows` : ""}` : found.detail || found.state;
    if (found.state === "done") return show(found);
    if (!["queued", "running"].includes(found.state)) return;
    await new Promise((resume) => setTimeout(resume, 300));
  }
}

async function show() {
  const found = await (await ask(`/jobs/${job}/volumes`)).json();
  const body = at("volumes").tBodies[0];
  body.replaceChildren();
  const values = Object.fromEntries(Object.entries(found.labels).map(([value, name]) => [name, value]));
  for (const [name, ml] of Object.entries(found.volumes_ml)) row(body, [name, values[name] || "", ml.toFixed(3)]);
  at("volumes").hidden = false;
  const link = at("result");
  link.href = URL.createObjectURL(await (await ask(`/jobs/${job}/labels`)).blob());
  link.download = "labels.nii.gz";
  link.hidden = false;
  await ask(`/jobs/${job}`, { method: "DELETE" });
}

async function send() {
  const files = at("files").files;
  if (!files.length) { at("state").textContent = "Choose a file first."; return; }
  const form = new FormData();
  for (const file of files) form.append("image", file, "image");
  for (const id of ["volumes", "result"]) at(id).hidden = true;
  at("state").textContent = "sending";
  at("send").disabled = true;
  at("bar").hidden = false;
  try {
    const answer = await ask("/jobs", { method: "POST", body: form });
    if (!answer.ok) { await refused(answer); return; }
    job = (await answer.json()).id;
    at("cancel").hidden = false;
    await follow();
  } catch {
    at("state").textContent = "The server cannot be reached.";
  } finally {
    at("send").disabled = false;
    at("cancel").hidden = at("bar").hidden = true;
  }
}

at("enter").addEventListener("click", () => { token = at("token").value.trim(); showModel(); });
at("send").addEventListener("click", send);
at("cancel").addEventListener("click", () => ask(`/jobs/${job}/cancel`, { method: "POST" }));
showModel();
