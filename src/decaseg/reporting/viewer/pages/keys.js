// What keys and the pointer do: the tables that are acted on are those that the list of keys shows.

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 1], ArrowDown: [1, -1], PageUp: [2, 1], PageDown: [2, -1] }; // axis, direction

// With the name of the key's event, what it does, and its words in the list; `act` holds what is done.
export const keysOf = (act) => [
  [["n"], ["n"], "next case", act.next],
  [["p"], ["p"], "previous case", act.previous],
  [["1", "2", "3", "4"], ["1", "…", "4"], "layers on and off, as listed", (key) => act.toggle(Number(key))],
  [["v"], ["v"], "next view: all planes, one plane, 3D, montage", act.nextView],
  [["t"], ["t"], "3D from the front, right, back, left, above", act.turn3d],
  [["o"], ["o"], "outlines only", act.outline],
  [Object.keys(STEPS), ["←", "→", "↑", "↓"], "crosshair by a voxel: right, left, forward, back", (key) => act.step(STEPS[key])],
  [[], ["Page Up", "Page Down"], "crosshair up and down", null],
  [["+", "=", "-"], ["+", "−"], "overlay more, less opaque", (key) => act.fade(key === "-" ? -0.1 : 0.1)],
  [["s"], ["s"], "back to the structure", act.home],
  [["r"], ["r"], "reset zoom, turn and grey values", act.reset],
  [["?"], ["?"], "this list", act.help],
];

export const GESTURES = [
  [["click"], "crosshair; dragging moves it along"],
  [["wheel"], "through the slices below the pointer; over 3D, its size"],
  [["drag 3D"], "turns it"],
  [["right drag"], "grey values: up and down brightness, sideways contrast"],
  [["double click"], "one plane large, and back"],
];
