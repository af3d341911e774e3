#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up the results of all test tools in a build folder, and exits with 1 if a test failed.

First come the skipped tests, the seconds of each part, and the slowest files and tests. Then come the failed tests with the first
line of the reason, at the end because a CI server may show only that, and the tests that passed only when they ran once more
(tools/lanes.py). The last line, "N passed, N failed, N skipped", is also left in summary.txt of that folder.
"""
import collections
import glob
import json
import os
import shutil
import sys
import xml.etree.ElementTree as xml

build = sys.argv[1]
chosen = os.environ.get("TESTS")    # counts only these files, and the unit tests
sanitized = os.environ.get("SANITIZE")
passed = skipped = 0
failures, unstable = [], []         # a line for each such test
seconds = collections.Counter()     # of each test of meson, and of each file of pytest
SHOWN, LONGEST = 20, 160            # how many failures are listed at the end, and how many characters of a reason


def skip(name, reason=""):
    global skipped
    skipped += 1
    print("skipped:", name + (" - " + reason if reason else ""))


def status_of(part):
    """Returns the exit status that a part has written, or "none" if it did not finish."""
    try:
        with open(os.path.join(build, part + ".status")) as file:
            return file.read().strip()
    except FileNotFoundError:
        return "none"


def first(case, *tags):
    """Returns the first element of a test's report that has one of these tags."""
    return next((element for element in case if element.tag in tags), None)


def told(name, element):
    """Returns the line about a failed test: its name and the first line of the reason."""
    lines = (element.get("message") or element.text or "").strip().splitlines()
    return "%s: %s" % (name, lines[0][:LONGEST] if lines else "no reason given")


def count_case(name, case):
    """Adds one test of a report of pytest or Maven. For a test that passed when it ran again, tools/lanes.py and Maven have different
    tags."""
    global passed
    if (element := first(case, "failure", "error")) is not None:
        failures.append(told(name, element))
    elif (element := first(case, "skipped")) is not None:
        skip(name, element.get("message", ""))
    else:
        passed += 1
        if (element := first(case, "unstable", "flakyFailure", "flakyError")) is not None:
            unstable.append(told(name, element))


def count_pytest(report):
    for case in xml.parse(os.path.join(build, report)).iter("testcase"):
        seconds[case.get("classname", "").split(".Test")[0].replace(".", "/") + ".py"] += float(case.get("time", 0))
        count_case(case.get("classname", "") + "::" + case.get("name", ""), case)


def count_units():
    global passed
    logs = ["testlog.json"]
    if not sanitized and not chosen:
        if shutil.which("valgrind"):
            logs.append("testlog-valgrind.json")
        else:
            skip("the unit tests under valgrind, which is not installed")
    for log in logs:
        for test in map(json.loads, open(os.path.join(build, "meson-logs", log))):
            seconds[test["name"] + (", valgrind" if "valgrind" in log else "")] += test["duration"]
            if test["result"] in ("OK", "EXPECTEDFAIL"):
                passed += 1
            elif test["result"] == "SKIP":
                skip(test["name"])
            else:
                failures.append("%s: %s (%s)" % (test["name"], test["result"], log))


def count_programs():
    before = len(failures)
    if os.path.exists(os.path.join(build, "pytest.xml")):
        count_pytest("pytest.xml")
    code = status_of("program")
    # 1 means that a test failed, which the report has. Any other status means that a lane did not finish.
    if code != "0" and (code != "1" or len(failures) == before):
        parts = ["%s %s" % (os.path.basename(path)[:-len(".status")], open(path).read().strip())
                 for path in sorted(glob.glob(os.path.join(build, "lanes", "*.status")))]
        failures.append("the whole-program tests as a whole (tools/lanes.py): exit status %s; of its lanes: %s" % (code, ", ".join(parts)))
    for report in sorted(glob.glob(os.path.join(build, "reports", "**", "*"), recursive=True)):
        if not os.path.isdir(report):
            failures.append("a sanitizer's report: " + report)


def count_install():
    global passed
    if status_of("install") == "0":
        passed += 1
    else:
        failures.append("the installed files (tools/check-install.sh)")


def count_java():
    before = len(failures)
    reports = glob.glob(os.path.join("clients", "java", "**", "target", "surefire-reports", "TEST-*.xml"), recursive=True)
    for case in (case for report in sorted(reports) for case in xml.parse(report).iter("testcase")):
        count_case(case.get("classname", "") + "." + case.get("name", ""), case)
    if (status_of("java") != "0" or not reports) and len(failures) == before:
        failures.append("mvn -f clients/java verify as a whole")


def count_python():
    if sanitized:
        return skip("the Python client's tests, under a sanitizer")
    before = len(failures)
    if os.path.exists(os.path.join(build, "python.xml")):
        count_pytest("python.xml")
    code = status_of("python")
    if code == "77":
        skip("the Python client's tests: their packages can't be installed (%s/python.txt)" % build)
    elif code != "0" and len(failures) == before:
        failures.append("tools/python-tests.sh as a whole")


def typescript_cases(report):
    """Returns (name, element) of each test, or None if the report is not complete. The name begins with those of the suites, because tests
    for each transport have the same name."""
    def below(element, names):
        for one in element:
            if one.tag == "testsuite":
                yield from below(one, names + [one.get("name", "")])
            elif one.tag == "testcase":
                yield ": ".join([*names, one.get("name", "")]), one
    try:
        return list(below(xml.parse(report).getroot(), []))
    except (OSError, xml.ParseError):
        return None


def count_typescript_file(name, folder):
    """A file that failed ran once more (tools/typescript-tests.sh). A test that then passed is unstable."""
    cases = typescript_cases(os.path.join(folder, name + ".xml"))
    if cases is None:
        failures.append("typescript/%s: it did not end, and its report is not complete" % name)
    earlier = {case: first(element, "failure", "error") for case, element in typescript_cases(os.path.join(folder, name + ".first.xml")) or ()}
    for case, element in cases or ():
        whole = "typescript/%s: %s" % (name, case)
        seconds["typescript/" + name] += float(element.get("time", 0))
        if earlier.get(case) is not None and first(element, "failure", "error") is None:
            unstable.append(told(whole, earlier[case]))
        count_case(whole, element)


def count_typescript():
    if sanitized:
        return skip("the TypeScript client's tests, under a sanitizer")
    before, folder = len(failures), os.path.join(build, "typescript")
    reports = {os.path.basename(path).split(".")[0] for path in glob.glob(os.path.join(folder, "*.xml"))}
    for name in sorted(reports):
        count_typescript_file(name, folder)
    code = status_of("typescript")
    if code == "77":
        with open(os.path.join(build, "typescript.txt"), errors="replace") as file:
            skip("the TypeScript client's tests", " ".join(file.read().split())[-LONGEST:])
    elif (code != "0" or not reports) and len(failures) == before:
        failures.append("tools/typescript-tests.sh as a whole")


def show_times():
    times = os.path.join(build, "times.txt")
    if os.path.exists(times):
        with open(times) as file:
            parts = [line.rstrip("\n").split(" ", 1) for line in file]
        print("seconds of each part (%d in all):" % sum(int(part[0]) for part in parts))
        for took, name in parts:
            print("%7s  %s" % (took, name))
    print("the slowest files and tests:")
    for name, took in seconds.most_common(10):
        print("%7.0f  %s" % (took, name))


count_units()
count_programs()
if not chosen:
    count_install()
    count_java()
    count_python()
    count_typescript()
show_times()
for line in unstable:
    print("unstable, passed when it ran once more:", line)
for line in failures[:SHOWN]:
    print("failed:", line)
if len(failures) > SHOWN:
    print("and %d more" % (len(failures) - SHOWN))
summary = "%d passed, %d failed, %d skipped" % (passed, len(failures), skipped)
with open(os.path.join(build, "summary.txt"), "w") as file:
    file.write(summary + "\n")
print(summary)
sys.exit(1 if failures or not passed else 0)
