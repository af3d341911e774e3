# SPDX-License-Identifier: Apache-2.0
# To be sourced by a shell. Sanitizers write their reports to files in a folder to which all users of the tests can write. Without
# this, a test that expects a failure might accept the report and its exit status as that failure. The fixture nothing_left ignores
# this name.
PYEXEC_REPORTS=$(mktemp -d /tmp/pyexec-test-reports.XXXXXX)
chmod 1777 "$PYEXEC_REPORTS"
tools=$(cd "$(dirname "$0")" && pwd)
# handle_sigill: -fsanitize-undefined-trap-on-error makes an illegal instruction of undefined behaviour. It is used because gcc's
# UBSan ignores log_path when ASan is used too.
ASAN_OPTIONS="log_path=$PYEXEC_REPORTS/asan:exitcode=99:handle_sigill=1:detect_stack_use_after_return=1"
TSAN_OPTIONS="log_path=$PYEXEC_REPORTS/tsan:exitcode=99:second_deadlock_stack=1:suppressions=$tools/tsan.supp:print_suppressions=0"
LSAN_OPTIONS="suppressions=$tools/lsan.supp:print_suppressions=0"
export PYEXEC_REPORTS LSAN_OPTIONS ASAN_OPTIONS TSAN_OPTIONS
