// SPDX-License-Identifier: Apache-2.0
// Light or dark: the system's choice, until the user chooses.
import {button} from "./dom.js";

type Theme = "light" | "dark";
const system = matchMedia("(prefers-color-scheme: dark)");

export function theme(): Theme {
  const chosen = localStorage.getItem("theme");
  return chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light";
}

function apply(toggle: HTMLButtonElement): void {
  const now = theme(), next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset["theme"] = now;
  toggle.textContent = now === "dark" ? "☀" : "☾";
  toggle.setAttribute("aria-label", `Use the ${next} theme`);
  toggle.title = `Use the ${next} theme`;
  document.dispatchEvent(new Event("themechange"));
}

export function themeToggle(): HTMLButtonElement {
  const toggle = button("", "", () => {
    localStorage.setItem("theme", theme() === "dark" ? "light" : "dark");
    apply(toggle);
  }, {class: "icon", id: "theme"});
  system.addEventListener("change", () => apply(toggle));
  apply(toggle);
  return toggle;
}
