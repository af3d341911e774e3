#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For a developer, before each commit: the unit tests of every room, the tests of the tree, and a few whole programs
# of each front: tools/check.sh BUILD. It says how long that took.
set -u
build=$(cd "${1:-build}" && pwd)
cd "$(dirname "$0")/.." || exit 1
since=$(date +%s)
failed=0
meson test -C "$build" --no-rebuild --suite unit --print-errorlogs -q || failed=1
PYEXEC_BUILD=$build PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -p no:cacheprovider --durations 3 \
    tests/tree/test_tree.py tests/tree/test_support.py \
    tests/run/test_runs.py::test_main_job \
    tests/run/test_runs.py::test_last_value \
    tests/run/test_runs.py::test_how_a_script_ends \
    tests/session/test_sessions.py::test_state_lasts \
    tests/serve/test_serve.py::test_a_run_over_both_users_and_both_kinds_of_socket \
    tests/serve/test_serve.py::test_the_life_of_a_session \
    tests/fronts/test_rpc.py::test_initialize_and_both_kinds_of_runs \
    tests/fronts/test_mcp.py::test_both_eras_are_served_on_one_connection || failed=1
[ $failed = 0 ] && echo "checked in $(($(date +%s) - since)) s" || echo "FAILED"
exit $failed
