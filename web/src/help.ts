// SPDX-License-Identifier: Apache-2.0
// The help for the keys.
import {button, el} from "./dom.js";

const KEYS: [string, string][] = [
  ["Shift+Enter", "Run, then go to the next cell"], ["Ctrl+Enter", "Run, and stay"],
  ["Alt+Enter", "Run, and insert a cell below"], ["Escape", "Leave the editor for its cell"],
  ["In a cell: Enter", "Edit"], ["↑ ↓", "Other cells"], ["Alt+↑ Alt+↓", "Move the cell"],
  ["A, B", "Insert a cell above, below"], ["D D", "Delete the cell"], ["Z", "Bring a deleted cell back"],
  ["I I", "Interrupt"],
];

export function helpButton(): HTMLButtonElement {
  const dialog = el("dialog", {"aria-labelledby": "help-title"},
    el("h2", {id: "help-title"}, "Keys"),
    el("dl", {class: "keys"}, ...KEYS.flatMap(([keys, meaning]) => [el("dt", {}, keys), el("dd", {}, meaning)])),
    el("button", {type: "button", click: () => dialog.close()}, "Close"));
  document.body.append(dialog);
  return button("?", "Keys", () => dialog.showModal(), {class: "icon"});
}
