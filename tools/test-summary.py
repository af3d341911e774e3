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
program = None                  # what Meson says of pytest as a whole, when its report is there
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
        if "program" in test["name"] and os.path.exists(os.path.join(build, "pytest.xml")):
            program = test["result"]
            continue
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


if program or chosen:
    failed_before = failed
    count_pytest("pytest.xml")
    if not chosen and program != "OK" and failed == failed_before:
        failed += 1
        print("failed: pytest as a whole:", program)
if not chosen:
    with open(os.path.join(build, "install.status")) as status:
        if status.read().strip() == "0":
            passed += 1
        else:
            failed += 1
            print("failed: the installed files (tools/check-install.sh)")
for report in sorted(glob.glob(os.path.join(build, "reports", "*"))):
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
if not chosen:
    with open(os.path.join(build, "java.status")) as status:
        if (status.read().strip() != "0" or not java) and failed == failed_before:
            failed += 1
            print("failed: mvn -f java verify as a whole")
if chosen:
    pass
elif not os.path.exists(os.path.join(build, "python.status")):
    skipped += 1
    print("skipped: the Python client's tests, under a sanitizer")
else:
    failed_before = failed
    if os.path.exists(os.path.join(build, "python.xml")):
        count_pytest("python.xml")
    with open(os.path.join(build, "python.status")) as status:
        code = status.read().strip()
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
