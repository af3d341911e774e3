// SPDX-License-Identifier: Apache-2.0
// The session's policy: what its scripts may do, and its limits.
import {duration, el, size} from "./dom.js";

type Policy = Record<string, unknown>;

/** The most important values. */
function summary(policy: Policy): [string, string][] {
  const files = policy["disable_open"] ? "none" : policy["allow_readonly_open"] ? "read only" : "in the workspace";
  const imports = policy["use_import_whitelist"] ? "the allowed ones" : "all except the banned ones";
  return [["Time", show("timeout_ms", policy["timeout_ms"])],
    ["CPU", show("cpu_time_seconds", policy["cpu_time_seconds"])],
    ["Memory", show("address_space_bytes", policy["address_space_bytes"])],
    ["Files", files], ["Workspace", show("workspace_bytes", policy["workspace_bytes"])],
    ["Network", network(policy)], ["Imports", imports],
    ...(policy["environment"] ? [["Environment", String(policy["environment"])] as [string, string]] : [])];
}

function network(policy: Policy): string {
  const hosts = policy["allowed_hosts"];
  if (Array.isArray(hosts) && hosts.length) return `only ${hosts.join(", ")}`;
  return policy["disable_networking"] ? "none" : "allowed";
}

function show(key: string, value: unknown): string {
  if (value === null) return "no limit";
  if (typeof value === "number" && key.endsWith("_ms")) return duration(value);
  if (typeof value === "number" && key.endsWith("_seconds")) return duration(value * 1000);
  if (typeof value === "number" && key.endsWith("_bytes")) return size(value);
  if (Array.isArray(value)) return value.join(", ") || "none";
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

const rows = (pairs: [string, string][]) =>
  el("dl", {}, ...pairs.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]));

export class Limits {
  private readonly body = el("div");
  readonly element = el("section", {class: "panel", "aria-labelledby": "limits-title"},
    el("div", {class: "head"}, el("h2", {id: "limits-title"}, "Limits")), this.body);

  show(policy: Policy): void {
    const all = Object.entries(policy).map(([key, value]): [string, string] => [key, show(key, value)]);
    this.body.replaceChildren(rows(summary(policy)),
      el("details", {}, el("summary", {}, "The whole policy"), el("div", {class: "whole", tabindex: 0, role: "group", "aria-label": "The whole policy"}, rows(all))));
  }
}
