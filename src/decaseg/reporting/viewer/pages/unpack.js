
// Unpacks what the page carries into blobs and starts the viewer with them; nothing is fetched from elsewhere.
(async () => {
  const kinds = { js: "text/javascript", json: "application/json", nii: "application/octet-stream" };
  const urls = {};
  const keep = (path, parts) => (urls[path] = URL.createObjectURL(new Blob(parts, { type: kinds[path.split(".").pop()] })));
  try {
    if (!globalThis.DecompressionStream) throw new Error("This browser is too old for this page; use one of 2023 or later.");
    const scripts = {};
    for (const element of document.querySelectorAll("script[data-path]")) {
      const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      const unpacked = await new Response(stream).arrayBuffer();
      const path = element.dataset.path;
      element.remove();
      if (path === "viewer.js") scripts[path] = new TextDecoder().decode(unpacked);
      else keep(path, [unpacked]);
    }
    globalThis.packed = urls;
    let viewer = scripts["viewer.js"];
    for (const [path, url] of Object.entries(urls)) viewer = viewer.replace(`"./${path}"`, `"${url}"`);
    await import(keep("viewer.js", [viewer]));
  } catch (error) {
    const message = document.getElementById("message");
    message.textContent = error.message;
    message.hidden = false;
  }
})();
