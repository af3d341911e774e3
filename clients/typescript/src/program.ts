// SPDX-License-Identifier: Apache-2.0
/** Where the program `pyexec` is. */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join, sep } from "node:path";

import { ProgramNotFoundError } from "./errors.js";

const HINT = "Install pyexec, or give the path of its program: new Pyexec({ program: \"/path/to/pyexec\" }) or the environment variable PYEXEC.";
const REMOTE = "pyexec runs on Linux. Here this client can only use a server on a Linux machine: Pyexec.connect(\"https://…\", { token }).";

/** The name of the package that has the program for this machine, or undefined if there is none. */
export function runtimePackage(platform: string = process.platform, arch: string = process.arch, glibc: boolean = hasGlibc()): string | undefined {
  return platform === "linux" && (arch === "x64" || arch === "arm64") ? `pyexec-runtime-linux-${arch}-${glibc ? "gnu" : "musl"}` : undefined;
}

/** True if Node itself uses glibc, and not musl. */
function hasGlibc(): boolean {
  if (process.platform !== "linux") return false;
  const report = process.report as unknown as { excludeNetwork?: boolean; getReport(): { header: Record<string, unknown> } };
  report.excludeNetwork = true;         // otherwise the report looks up the names of all addresses
  return "glibcVersionRuntime" in report.getReport().header;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Returns the program of the package for this machine, if npm has installed it beside this one. */
function installed(): string | undefined {
  const name = process.platform === "linux" ? runtimePackage() : undefined;
  if (name === undefined) return undefined;
  try {
    const path = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "bin", "pyexec");
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

function inPath(name: string): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder);
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

/**
 * Returns the path of `pyexec`: the argument, or the environment variable PYEXEC, or the program of the package
 * pyexec-runtime-… for this machine, or the program in PATH. Throws ProgramNotFoundError.
 */
export function findProgram(program?: string): string {
  if (process.platform !== "linux")
    throw new ProgramNotFoundError(`there is no program 'pyexec' for ${process.platform}`, { hint: REMOTE });
  const wanted = program || process.env["PYEXEC"];
  const found = !wanted ? installed() ?? inPath("pyexec") : wanted.includes(sep) ? (isProgram(wanted) ? wanted : undefined) : inPath(wanted);
  if (found === undefined) throw new ProgramNotFoundError(`there is no program '${wanted || "pyexec"}'`, { hint: HINT });
  return found;
}
