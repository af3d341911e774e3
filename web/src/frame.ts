// SPDX-License-Identifier: Apache-2.0
// HTML that a script displayed, in a frame that can do nothing: no scripts, no origin, no requests, no navigation.
//
// Three things protect the page: the frame's sandbox; this page's Content-Security-Policy, which the frame inherits,
// so that it can't navigate to another address; and the frame's own policy. The cleaning below is for what none of
// them covers (for example the DNS lookup for a link), and to keep the styles, which the inherited policy allows
// only with a nonce.
import {el} from "./dom.js";
import {theme} from "./theme.js";

interface Policy {
  createHTML(html: string): string;
}
const factory = (window as {trustedTypes?: {createPolicy(name: string, rules: Policy): Policy}}).trustedTypes;
/** The only way from text to HTML in this page (trusted-types frame). */
const trusted: Policy = factory ? factory.createPolicy("frame", {createHTML: html => html}) : {createHTML: html => html};

const nonce = () => document.querySelector<HTMLLinkElement>("#style")!.nonce;
const DROPPED = "script, link, meta, base, iframe, frame, frameset, object, embed, template, noscript, portal";
const ADDRESSES = ["href", "xlink:href", "ping", "action", "formaction", "background", "manifest", "srcset", "target"];
const MOST_CHARACTERS = 4_000_000, MOST_UNCLOSED = 500;
const MOST_HEIGHT = 420, ROW_HEIGHT = 26;      // pixels; higher content scrolls inside its frame

// The same colors as in style.css. The background is set because Chromium's own, below content that scrolls, is
// darker than the cell.
const COLORS = {
  light: {ground: "#ffffff", text: "#1f2328", line: "#d5d9de", stripe: "#f5f6f8"},
  dark: {ground: "#1d2126", text: "#dfe3e8", line: "#3a414a", stripe: "#23282f"},
};

function baseStyle(): string {
  const colors = COLORS[theme()];
  return `:root { color-scheme: ${theme()}; background: ${colors.ground}; }
    body { margin: 0; padding: 4px; font: 13px/1.45 system-ui, sans-serif; color: ${colors.text}; background: transparent; }
    table { width: max-content; border-collapse: collapse; border: 0; font-variant-numeric: tabular-nums; }
    th, td { max-width: 60ch; padding: 3px 10px; text-align: right; border: 0; border-bottom: 1px solid ${colors.line}; }
    tbody tr:nth-child(even) { background: ${colors.stripe}; }
    img, svg { max-width: 100%; }`;
}

function clean(document: Document): void {
  for (const element of document.querySelectorAll(DROPPED)) element.remove();
  for (const element of document.querySelectorAll("*"))
    for (const {name} of [...element.attributes])
      if (name.startsWith("on") || ADDRESSES.includes(name) && !/^(#|data:image\/)/.test(element.getAttribute(name)!))
        element.removeAttribute(name);
}

/** Gives each <style> the nonce, and renames attributes with styles and handlers for now, because the parser below already applies
 * this page's content security policy to the HTML that it reads. A tag that this expression does not find keeps its attributes, and the
 * policy refuses them. */
function mark(html: string): string {
  return html.replace(/<[a-z][^<>]*>/gi, tag => tag.replace(/^<style\b/i, `<style nonce="${nonce()}"`)
    .replace(/([\s"'])style(?=\s*=)/gi, "$1data-css").replace(/([\s"'])on[a-z]+(?=\s*=)/gi, "$1data-on"));
}

function styleElement(document: Document, rules: string): HTMLStyleElement {
  const style = document.createElement("style");
  style.setAttribute("nonce", nonce());
  style.textContent = rules;
  return style;
}

/** Turns style attributes into rules, which come last. */
function attributeStyles(document: Document): string {
  let rules = "", count = 0;
  for (const element of document.querySelectorAll("[data-css]")) {
    const only = `[data-css="${count}"]`;
    rules += `${only}${only}${only} { ${element.getAttribute("data-css")} }\n`;
    element.setAttribute("data-css", String(count++));
  }
  return rules;
}

function parse(html: string): Document {
  const document = new DOMParser().parseFromString(trusted.createHTML(mark(html)), "text/html");
  clean(document);
  return document;
}

function page(document: Document): string {
  const own = document.createElement("meta");
  own.httpEquiv = "Content-Security-Policy";
  own.content = `default-src 'none'; style-src 'nonce-${nonce()}'; img-src data:`;
  document.head.prepend(own, styleElement(document, baseStyle()));
  document.body.append(styleElement(document, attributeStyles(document)));
  return "<!doctype html>" + document.documentElement.outerHTML;
}

/** Returns how many lines a table's row has: its longest cell decides. */
function lines(row: HTMLTableRowElement): number {
  const cell = (one: Element) => Math.ceil(one.textContent!.trim().length / 55) + one.querySelectorAll("br").length;
  return [...row.cells].reduce((most, one) => Math.max(most, cell(one)), 1);
}

/** Nothing can be measured in the frame: its height is an estimate of what it has, and a person can drag its edge. The
 * cells of tables are no wider than the style above says, so a row has as many lines as its text needs. */
function height(document: Document): number {
  const rows = [...document.querySelectorAll("tr")].slice(0, MOST_HEIGHT / ROW_HEIGHT);
  const outside = (tags: string) => [...document.querySelectorAll(tags)].filter(one => !one.closest("table")).length;
  const table = rows.reduce((sum, row) => sum + lines(row) * ROW_HEIGHT, 0);
  const blocks = outside("p, h1, h2, h3, h4, h5, h6") * 36 + outside("br, li, pre, summary") * 22;
  const pictures = [...document.querySelectorAll("img, svg")].map(one => Number(one.getAttribute("height")) || 0);
  const other = table + blocks ? 0 : outside("div") * 22;
  // There may be a horizontal scroll bar below.
  const all = table + document.querySelectorAll("caption").length * 22 + blocks + other + Math.max(0, ...pictures.slice(0, 100)) + 30;
  return Math.min(Math.max(all, 60), MOST_HEIGHT);
}

/** True for HTML with many unclosed elements: parsers need quadratic time for it. */
function isTooMuch(html: string): boolean {
  const tags = "(a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)\\b";
  const count = (pattern: string) => html.match(new RegExp(pattern, "gi"))?.length ?? 0;
  return html.length > MOST_CHARACTERS || count("<" + tags) - count("</" + tags) > MOST_UNCLOSED;
}

/** True if nothing is visible without scripts, as with an interactive chart. */
function isEmpty(html: string): boolean {
  const document = parse(html);
  for (const style of document.querySelectorAll("style")) style.remove();
  return !document.body.textContent!.trim() && !document.querySelector("img, svg, hr, input, meter, progress");
}

/** Returns a note about this HTML for the user, and whether another form should be shown instead. */
export function judge(html: string): {note: string; hidden: boolean} {
  if (isTooMuch(html)) return {note: "The HTML is too large to be shown here.", hidden: true};
  if (/<script\b/i.test(html)) return {note: "The HTML has scripts, which are not run here.", hidden: isEmpty(html)};
  return {note: "", hidden: false};
}

export function frame(html: string): HTMLElement {
  const inner = el("iframe", {sandbox: "", title: "HTML output", referrerpolicy: "no-referrer", loading: "eager"});
  const show = () => { inner.srcdoc = trusted.createHTML(page(parse(html))); };
  const outer = el("div", {class: "frame"}, inner);
  const follow = () => {
    if (outer.isConnected) show();
    else document.removeEventListener("themechange", follow);
  };
  document.addEventListener("themechange", follow);
  outer.style.height = `${height(parse(html))}px`;
  show();
  return outer;
}
