"use strict";
const at = (id) => document.getElementById(id);
let token = "";

const make = (tag, text, kind) => {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const shown = (value) => make("pre", typeof value === "string" ? value : JSON.stringify(value, null, 1));

function route(path, method, facts) {
  const box = make("details");
  const head = make("summary");
  head.append(make("span", method.toUpperCase(), "method"), make("code", path), " " + (facts.summary || ""));
  box.append(head);
  if (facts.description) box.append(make("p", facts.description));
  for (const one of facts.parameters || []) {
    box.append(make("p", `${one.in} parameter ${one.name}${one.required ? "" : ", optional"}`));
  }
  const body = facts.requestBody;
  if (body) {
    box.append(make("p", body.description || "Body"));
    for (const [type, said] of Object.entries(body.content || {})) {
      box.append(make("p", type));
      if (said.example) box.append(shown(said.example));
    }
  }
  for (const [status, said] of Object.entries(facts.responses || {})) {
    box.append(make("p", `${status} ${said.description || ""}`));
    for (const content of Object.values(said.content || {})) if (content.example) box.append(shown(content.example));
  }
  return box;
}

async function show() {
  const answer = await fetch("/openapi.json", { headers: token ? { Authorization: "Bearer " + token } : {} });
  at("asks").hidden = answer.status !== 401;
  if (!answer.ok) return;
  const found = await answer.json();
  at("about").textContent = `${found.info.description} Version ${found.info.version}.`;
  const groups = new Map();
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, facts] of Object.entries(methods)) {
      const tag = (facts.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(route(path, method, facts));
    }
  }
  at("routes").replaceChildren();
  for (const [tag, boxes] of groups) at("routes").append(make("h2", tag), ...boxes);
}

at("enter").addEventListener("click", () => { token = at("token").value.trim(); show(); });
show();
