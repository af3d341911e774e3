// SPDX-License-Identifier: Apache-2.0
// Asks before something is lost.
import {el} from "./dom.js";

/** Resolves to true if the user chose the action; Escape and Cancel change nothing. */
export function confirm(title: string, text: string, action: string): Promise<boolean> {
  return new Promise(resolve => {
    const dialog = el("dialog", {"aria-labelledby": "confirm-title", "aria-describedby": "confirm-text"},
      el("h2", {id: "confirm-title"}, title), el("p", {id: "confirm-text"}, text),
      el("div", {class: "choices"},
        el("button", {type: "button", id: "cancel", click: () => dialog.close()}, "Cancel"),
        el("button", {type: "button", id: "confirm", class: "primary", click: () => dialog.close("yes")}, action)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
