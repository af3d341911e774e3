#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up what the test tools of a build folder have counted, and exits 1 when any failed.

Before the end come the seconds of each part and of the slowest files and tests. The last line, "N passed, N failed, N skipped", is also left in summary.txt of that folder.
"""
import collections
import glob
import json
import os
import shutil
import sys
import xml.etree.ElementTree as xml

build = sys.argv[1]
passed = failed = skipped = 0
seconds = collections.Counter()     # of meson's tests, and of the files of pytest
logs = ["testlog.json"]
chosen = os.environ.get("TESTS")    # only these files, and the unit tests
if not os.environ.get("SANITIZE") and not chosen:
    if shutil.which("valgrind"):
        logs.append("testlog-valgrind.json")
    else:
        skipped += 1
        print("skipped: the unit tests under valgrind, which is not installed")
for log in logs:
    for test in map(json.loads, open(os.path.join(build, "meson-logs", log))):
        seconds[test["name"] + (", valgrind" if "valgrind" in log else "")] += test["duration"]
        if test["result"] in ("OK", "EXPECTEDFAIL"):
            passed += 1
        elif test["result"] == "SKIP":
            skipped += 1
            print("skipped:", test["name"])
        else:
            failed += 1
            print("failed:", test["name"], test["result"], "(%s)" % log)


def count_pytest(report):
    """Adds a report of pytest's to the counts."""
    global passed, failed, skipped
    for case in xml.parse(os.path.join(build, report)).iter("testcase"):
        name = case.get("classname", "") + "::" + case.get("name", "")
        seconds[case.get("classname", "").split(".Test")[0].replace(".", "/") + ".py"] += float(case.get("time", 0))
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print("failed:", name)
        elif (skip := case.find("skipped")) is not None:
            skipped += 1
            print("skipped:", name, "-", skip.get("message", ""))
        else:
            passed += 1


def status_of(part):
    """The exit status that a part has left; "none" when it did not come to its end."""
    try:
        with open(os.path.join(build, part + ".status")) as file:
            return file.read().strip()
    except FileNotFoundError:
        return "none"


failed_before = failed
if os.path.exists(os.path.join(build, "pytest.xml")):
    count_pytest("pytest.xml")
for path in sorted(glob.glob(os.path.join(build, "lanes", "*.status"))):
    name = os.path.basename(path)[:-len(".status")]
    with open(path) as status:
        print("%s: exit status %s" % (name, status.read().strip()))
code = status_of("program")
# 1 is a failed test, which is in the report; every other status is of a lane that did not come to its end.
if code != "0" and (code != "1" or failed == failed_before):
    failed += 1
    print("failed: the whole-program tests as a whole (tools/lanes.py): exit status", code)
if not chosen:
    if status_of("install") == "0":
        passed += 1
    else:
        failed += 1
        print("failed: the installed files (tools/check-install.sh)")
for report in sorted(glob.glob(os.path.join(build, "reports", "**", "*"), recursive=True)):
    if os.path.isdir(report):
        continue
    failed += 1
    print("failed: a sanitizer's report:", report)
failed_before = failed
java = [] if chosen else glob.glob(os.path.join("java", "**", "target", "surefire-reports", "TEST-*.xml"), recursive=True)
for case in (case for report in sorted(java) for case in xml.parse(report).iter("testcase")):
    name = case.get("classname", "") + "." + case.get("name", "")
    if case.find("failure") is not None or case.find("error") is not None:
        failed += 1
        print("failed:", name)
    elif case.find("skipped") is not None:
        skipped += 1
        print("skipped:", name)
    else:
        passed += 1
if not chosen and (status_of("java") != "0" or not java) and failed == failed_before:
    failed += 1
    print("failed: mvn -f java verify as a whole")
if chosen:
    pass
elif os.environ.get("SANITIZE"):
    skipped += 1
    print("skipped: the Python client's tests, under a sanitizer")
else:
    failed_before = failed
    if os.path.exists(os.path.join(build, "python.xml")):
        count_pytest("python.xml")
    code = status_of("python")
    if code == "77":
        skipped += 1
        print("skipped: the Python client's tests: their packages can't be installed (%s/python.txt)" % build)
    elif code != "0" and failed == failed_before:
        failed += 1
        print("failed: tools/python-tests.sh as a whole")
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
summary = "%d passed, %d failed, %d skipped" % (passed, failed, skipped)
with open(os.path.join(build, "summary.txt"), "w") as file:
    file.write(summary + "\n")
print(summary)
sys.exit(1 if failed or not passed else 0)
