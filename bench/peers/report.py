# SPDX-License-Identifier: Apache-2.0
"""What was measured, as a table for the terminal, as Markdown between markers of a page, and as bars for `pyexec bench --plot`."""
import re

from .install import SCIENCE

ROWS = [("one_line", "one line"), ("humaneval", "HumanEval, a problem"), ("packages", "numpy, pandas, a groupby"),
        ("opened", "a session opened"), ("session", "a session's call"), ("memory", "memory of sessions")]
COLUMNS = ["processes", "network", "files", "memory", "cpu", "kernel"]

# Printed beside a goal that was missed: where the time or memory of the row goes, and so what a better figure would take.
WHY_MISSED = {
    "execute_once_pooled_p50_us": "it compiles and evaluates the script, copies the pages that this writes to, and wakes two sleeping processes",
    "pooled_to_first_round_trip": "a run is received, compiled, evaluated and reported; the floor only evaluates, in a process that did so before",
    "pooled_files_to_pooled": "a run with files has a mount namespace more, and its folder is listed",
    "execute_once_p50_us": "about 200 page faults of the cloned interpreter, 1.5 µs each, and the set-up of the layers",
    "execute_to_clone_namespaces": "mounts, Landlock, seccomp and limits come after the clone, and about 200 page faults after them",
    "session_p50_us": "two switches between processes, and the compiler of Python",
    "session_idle_p50_us": "two wake-ups of sleeping virtual CPUs, on top of a call back to back",
    "runs_per_second": "CPU time of the kernel for each run: clone, namespaces, page faults, exit",
    "runs_per_second_pool_to_no_pool": "both use all of the CPUs, so the preparation of a child ahead of its run only moves the work",
    "runs_per_second_preloaded": "each clone copies the page tables of several hundred mappings of libraries, and its end frees them",
    "session_private_kib": "pages that the interpreter writes to for any script",
    "session_private_kib_preloaded": "pages that the interpreter writes to for any script, among them those of numpy and pandas",
    "sessions_opened_per_second": "opening a session costs what an unpooled run costs",
    "sessions_opened_last_to_first": "not profiled",
    "output_100_mb_p50_ms": "each byte goes through a pipe, is copied twice and checked to be UTF-8",
    "cli_to_python": "the launcher, the supervisor and the layers, on top of the start of Python",
    "idle_sessions_call_p99_us": "each session is called once, so none of its memory is in a cache",
    "idle_cpu_us_per_second": "not profiled",
    "waiting_child_private_kib": "pages that warming writes to",
    "pooled_runs_p99_to_p50": "of calls that arrive together, the later ones wait for a CPU, on which children for the pool are made too",
}


def time_text(us):
    for limit, unit, divisor in ((1000, "µs", 1), (1e6, "ms", 1e3), (float("inf"), "s", 1e6)):
        if us < limit:
            value = us / divisor
            return ("%.2g %s" if value < 9.95 else "%.0f %s") % (value, unit)


class Notes:
    """Footnotes: a number for each different reason."""

    def __init__(self):
        self.texts = []

    def number(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def cell(row, figures, notes):
    if not figures:
        return "—"
    if "cannot" in figures:
        return "— (%d)" % notes.number(figures["cannot"])
    if row == "memory":
        text = "%.0f MiB" % figures["mib"] if figures["mib"] >= 10 else "%.1f MiB" % figures["mib"]
        return text if not figures["why_fewer"] else "%s, %d (%d)" % (text, figures["sessions"], notes.number(figures["why_fewer"]))
    text = "%s / %s" % (time_text(figures["p50_us"]), time_text(figures["p99_us"]))
    if row == "humaneval":
        text += ", %d of %d" % (figures["right"], figures["tried"])
        why = figures["first_failure"] or ("it was stopped after its time" if figures["tried"] < figures["of"] else None)
        if why:
            text += " (%d)" % notes.number("HumanEval: " + why)
    return text


def lines_of(measured, notes):
    """Returns the cells of each peer's line."""
    found = []
    for peer in measured["peers"]:
        if "cannot" in peer:
            cells = ["— (%d)" % notes.number(peer["cannot"])] * len(ROWS)
        else:
            cells = [cell(row, peer["rows"].get(row), notes) for row, _ in ROWS]
        found.append((peer, cells))
    return found


def terminal(measured):
    notes = Notes()
    table = [["p50 / p99", *(title for _, title in ROWS)]]
    table += [[peer["name"], *cells] for peer, cells in lines_of(measured, notes)]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    text = "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths)).rstrip() for line in table)
    text += "\n\n" + "\n".join("(%d) %s" % (number + 1, why) for number, why in enumerate(notes.texts))
    text += "\n\n" + "\n".join("%s: %s; %s" % (peer["name"], peer["mode"].replace("`", ""), peer.get("versions", "not installed"))
                               for peer in measured["peers"])
    return text + "".join("\nleft out: " + line for line in measured["left_out"])


def markdown_table(head, lines):
    return "\n".join("| %s |" % " | ".join(line) for line in [head, ["---"] * len(head), *lines])


def machine_text(measured):
    machine = measured["machine"]
    text = "Measured on %s: %s, %d CPUs, Linux %s, pyexec %s at %s, CPython %s; load at the start %s." % (
        measured["day"], machine["cpu"], machine["cpus"], machine["kernel"], machine["pyexec"], machine["commit"], machine["python"],
        machine["load"])
    busy = float(machine["load"]) > machine["cpus"] / 4
    why = [reason for reason, holds in (("short rounds (`--quick`)", measured["quick"]), ("other work ran beside it", busy)) if holds]
    if why:
        text += " **Not a final measurement**: %s. It shows that everything runs; an idle machine is faster." % " and ".join(why)
    return text


def peers_markdown(measured):
    notes = Notes()
    lines = [["%s<br>%s" % (peer["name"], peer["mode"]), *cells] for peer, cells in lines_of(measured, notes)]
    head = ["p50 / p99", *(title if row != "memory" else "memory of %d sessions" % measured["sessions"] for row, title in ROWS)]
    parts = [machine_text(measured), markdown_table(head, lines)]
    parts += ["\n".join("%d. %s" % (number + 1, re.sub(r"([|<>])", r"\\\1", why)) for number, why in enumerate(notes.texts))]
    versions = dict.fromkeys(peer["versions"].replace("==", " ").replace("@", " ") for peer in measured["peers"] if "versions" in peer)
    parts += ["Versions: %s; for CPython numpy and pandas: %s." % ("; ".join(versions), ", ".join(SCIENCE).replace("==", " "))]
    parts += ["Left out: %s." % line for line in measured["left_out"]]
    return "\n\n".join(part for part in parts if part)


def isolation_markdown(whats):
    return markdown_table(["", *COLUMNS], [[what["name"], *(what["isolates"][column] for column in COLUMNS)] for what in whats])


def goal_line(goal):
    bound = "≤ %g" % goal["at_most"] if "at_most" in goal else "≥ %g" % goal["at_least"] if "at_least" in goal else ""
    if "not_measured" in goal:
        return [goal["title"], bound, "—", goal["not_measured"]]
    verdict = {True: "met", False: "missed: " + WHY_MISSED.get(goal["name"], ""), None: ""}[goal["met"]]
    figure = goal["figure"]
    return [goal["title"], bound, ("%.2f" if abs(figure) < 100 else "%.0f") % figure, verdict]


def goals_markdown(bench):
    """`bench`: the object of `pyexec bench --json`."""
    return markdown_table(["", "goal", "figure", ""], [goal_line(goal) for goal in bench["goals"]])


def half_load_markdown(half):
    lines = []
    for key, title in (("pooled_runs", "a run from the pool"), ("session_calls", "a session's call")):
        kind = half[key]
        for part, what in (("latency_us", "from the planned arrival"), ("call_us", "of this, the call itself")):
            row = kind[part]
            lines.append([title if part == "latency_us" else "", what, *(time_text(row[name]) for name in ("p50", "p90", "p99", "p99_9", "max")),
                          "%.0f of %.0f" % (kind["rate_per_second"], kind["saturation_per_second"]) if part == "latency_us" else "",
                          "{:,}".format(kind["made"]) if part == "latency_us" else ""])
    [goal] = half["goals"]
    head = "%d seconds of each, Poisson arrivals of %d callers:" % (half["seconds"], half["callers"])
    tail = "p99 / p50 of a run: %.2f (goal: ≤ %g, %s)" % (goal["figure"], goal["at_most"], "met" if goal["met"] else "missed: "
                                                         + WHY_MISSED[goal["name"]])
    return "\n\n".join([head, markdown_table(["", "", "p50", "p90", "p99", "p99.9", "max", "per second", "calls"], lines), tail + "."])


def pythons_markdown(pythons):
    lines = [[one["version"], *(time_text(one["us"][key]) for key in ("execute_once_pooled", "execute_once", "session")),
              "%.0f" % one["runs_per_second"], "%.2f MiB" % (one["session_kib"] / 1024)] for one in pythons]
    return markdown_table(["CPython", "pooled run", "unpooled run", "session's call", "runs per second", "an idle session"], lines)


def put(page, name, text):
    """Replaces what is between the markers of this name."""
    pattern = re.compile("(<!-- measured: %s -->\n).*?(<!-- end -->)" % re.escape(name), re.S)
    if len(pattern.findall(page)) != 1:
        raise ValueError("the page has no place for '%s'" % name)
    return pattern.sub(lambda match: match.group(1) + text + "\n" + match.group(2), page)


def bars(measured):
    """For `pyexec bench --plot --peers`, which measures python3 and bubblewrap itself."""
    titles = {"one_line": ("fresh", "%s: a run"), "session": ("session", "%s: a call")}
    return [{"group": group, "title": title % peer.get("label", peer["name"]), "us": peer["rows"][row]["p50_us"]}
            for row, (group, title) in titles.items() for peer in measured["peers"]
            if "rows" in peer and not peer["name"].startswith("pyexec") and peer["name"] not in ("python3", "bubblewrap")
            and "p50_us" in peer["rows"].get(row, {})]
