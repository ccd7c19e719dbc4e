// Label maps as they are drawn: a colour a structure, filled or as an outline.

const ACROSS = { axial: "SI", coronal: "AP", sagittal: "RL", montage: "SI" };

// Voxels with something else beside them, in the plane that is looked at or, where all are, anywhere: NiiVue's own
// outlines need opaque layers. `orientation` holds a letter an axis.
export function rims(array, [, nx, ny], view, orientation) {
  const steps = [1, nx, nx * ny].filter((_, axis) => !ACROSS[view]?.includes(orientation[axis]));
  const kept = new Uint8Array(array.length);
  for (let i = 0; i < array.length; i++) {
    const v = array[i];
    if (v && steps.some((step) => array[i - step] !== v || array[i + step] !== v)) kept[i] = v;
  }
  return kept;
}

// NiiVue's table of colours; what is `gone`, by its name, is transparent.
export function lookup(parts, gone) {
  const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
  for (const { value, name, colour } of parts) {
    table.R.push(colour[0]);
    table.G.push(colour[1]);
    table.B.push(colour[2]);
    table.A.push(gone(name) ? 0 : 255);
    table.I.push(value);
    table.labels.push(name);
  }
  return table;
}
