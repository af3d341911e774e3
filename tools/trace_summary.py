#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares traces of `strace -f` with pyexec's list of system calls.

    tools/trace_summary.py LIST FOLDER

LIST is the output of `seccomp_gen --markdown`. FOLDER has a file for each interpreter and section of tools/trace_workload.py, with the name
VERSION.SECTION. Prints a line per call: name, the list's actions, in how many of the interpreters it was seen, and the sections that
made it. Ends with 1 if a call has no row, or one that ends the run."""
import collections
import glob
import os
import re
import sys


def main(listed, folder):
    actions = collections.defaultdict(list)
    with open(listed) as file:
        for name, action in re.findall(r"^\| `(\w+)` \| ([^|]+) \|", file.read().split("## Set-up")[0], re.M):
            if action not in actions[name]:
                actions[name].append(action)
    seen = collections.defaultdict(lambda: (set(), set()))
    versions = set()
    for path in glob.glob(folder + "/*.*"):
        version, _, section = os.path.basename(path).rpartition(".")
        versions.add(version)
        with open(path, errors="replace") as file:
            for call in re.findall(r"^(?:\d+ +)?(\w+)\(", file.read(), re.M):
                seen[call][0].add(version), seen[call][1].add(section)
    for name, (by, sections) in sorted(seen.items(), key=lambda item: ("allow" in actions[item[0]], item[0])):
        print("%-20s %-28s %d/%d  %s" % (name, ", ".join(actions[name]) or "NO ROW", len(by), len(versions), " ".join(sorted(sections))))
    print("%d calls seen; %d have an allowing row" % (len(seen), sum("allow" in actions[name] for name in seen)))
    return not seen or any(not actions[name] or actions[name] == ["trap"] for name in seen)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
