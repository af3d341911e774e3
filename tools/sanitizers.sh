# SPDX-License-Identifier: Apache-2.0
# Sourced: sanitizers report to files in a folder that each user of the tests can write to. A test that
# expects a failure might take the report, and the exit status that comes with it, for the one expected.
# Its name is one of those that the fixture nothing_left leaves alone.
PYEXEC_REPORTS=$(mktemp -d /tmp/pyexec-test-reports.XXXXXX)
chmod 1777 "$PYEXEC_REPORTS"
tools=$(cd "$(dirname "$0")" && pwd)
# What -fsanitize-undefined-trap-on-error makes of undefined behaviour is an illegal instruction: gcc's
# UBSan takes no log_path beside ASan.
ASAN_OPTIONS="log_path=$PYEXEC_REPORTS/asan:exitcode=99:handle_sigill=1:detect_stack_use_after_return=1"
TSAN_OPTIONS="log_path=$PYEXEC_REPORTS/tsan:exitcode=99:second_deadlock_stack=1:suppressions=$tools/tsan.supp:print_suppressions=0"
LSAN_OPTIONS="suppressions=$tools/lsan.supp:print_suppressions=0"
export PYEXEC_REPORTS LSAN_OPTIONS ASAN_OPTIONS TSAN_OPTIONS
