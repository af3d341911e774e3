// SPDX-License-Identifier: Apache-2.0
// One display of a script (a MIME bundle) as an element; the richest form that can be shown safely.
import type {Display} from "./api.js";
import {el} from "./dom.js";
import {frame, judge} from "./frame.js";

const text = (data: unknown): string => typeof data === "string" ? data : Array.isArray(data) ? data.join("") : "";

const plain = (content: string, label: string) =>
  el("pre", {class: "plain", tabindex: 0, role: "group", "aria-label": label}, content);

/** Pictures never become HTML: in an <img>, SVG runs no scripts and sends no requests. */
function picture(source: string, alternative: string): HTMLElement {
  return el("img", {class: "picture", src: source, alt: alternative});
}

type Form = [type: string, show: (data: unknown, alternative: string) => HTMLElement];
const forms: Form[] = [
  ["text/html", data => frame(text(data))],
  ["image/svg+xml", (data, alternative) => picture("data:image/svg+xml," + encodeURIComponent(text(data)), alternative)],
  ...["image/png", "image/jpeg", "image/gif", "image/webp"].map((type): Form =>
    [type, (data, alternative) => picture(`data:${type};base64,${text(data).replace(/\s/g, "")}`, alternative)]),
  ["text/markdown", data => plain(text(data), "Markdown")],
  ["text/latex", data => plain(text(data), "LaTeX")],
  ["application/json", data => plain(JSON.stringify(data, null, 2), "JSON")],
  ["text/plain", data => plain(text(data), "Value")],
];

export function show({data}: Display): HTMLElement {
  const alternative = text(data["text/plain"]).slice(0, 200) || "Displayed by the script";
  const {note, hidden} = judge(text(data["text/html"]));
  const form = forms.find(([type]) => type in data && !(type === "text/html" && hidden));
  const shown = form?.[1](data[form[0]], alternative);
  if (shown && !note) return shown;
  const types = Object.keys(data).join(", ") || "nothing";
  return el("div", {}, shown, el("p", {class: "note"}, note || `A display of ${types}, which this page can't show.`));
}
