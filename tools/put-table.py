#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""put-table.py FILE TABLE: writes standard input into the document FILE, between <!-- TABLE --> and <!-- end of TABLE -->."""
import sys

path, name = sys.argv[1:]
begin, end = "<!-- %s -->\n" % name, "<!-- end of %s -->" % name
with open(path) as file:
    text = file.read()
if text.count(begin) != 1 or text.count(end) != 1:
    sys.exit("%s: needs one %r and one %r" % (path, begin, end))
before, after = text.split(begin)[0], text.split(end)[1]
with open(path, "w") as file:
    file.write(before + begin + sys.stdin.read() + end + after)
