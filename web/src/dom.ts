// SPDX-License-Identifier: Apache-2.0
// Makes elements without HTML: text always stays text.

type Child = Node | string | null | undefined | false;
type Properties = Record<string, string | boolean | number | ((event: any) => void) | undefined>;

/** Makes an element. A property that is a function listens to the event of its name; the others are attributes. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K, properties: Properties = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

export function button(text: string, label: string, pressed: () => void, properties: Properties = {}): HTMLButtonElement {
  return el("button", {type: "button", "aria-label": label, title: label, click: pressed, ...properties}, text);
}

/** "1.5 MiB", as the configuration writes sizes. */
export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${Number.isInteger(bytes) ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

export function duration(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`;
  if (ms < 60_000) return `${Math.round(ms / 100) / 10} s`;
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 360_000) / 10} h`;
}

/** Gives a file to the user, as a download of the browser. */
export function download(content: Blob, name: string): void {
  const address = URL.createObjectURL(content);
  el("a", {href: address, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
