/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict about a test, and its part of the answer. */
#ifndef PX_EXECUTOR_VERIFY_REPORT_H
#define PX_EXECUTOR_VERIFY_REPORT_H

#include "base/buffer.h"
#include "executor/verify_tests.h"
#include "result/result.h"

enum px_verdict {
    PX_VERDICT_SKIPPED,
    PX_VERDICT_PASS,
    PX_VERDICT_WRONG,
    PX_VERDICT_ERROR,
    PX_VERDICT_TIMEOUT,
    PX_VERDICT_CPU_LIMIT,
    PX_VERDICT_MEMORY_LIMIT,
    PX_VERDICT_KILLED,
    PX_VERDICT_CRASHED,
    PX_VERDICT_CANCELLED,
    PX_VERDICT_COUNT
};
const char *px_verdict_name(enum px_verdict verdict);

/* Decides about a test that has run. When the verdict is `error` although the script has none, `error` of the result says why.
 * Returns 0, or -1 when there is no memory. */
int px_verdict_decide(const struct px_verify_tests *tests, const struct px_verify_test *test, pyexec_result *result,
                      enum px_verdict *ret);

/* Appends the object of one test. `result` NULL: it did not run. `solution`: the result of the solution itself, when that is why
 * the test has no result; or NULL. */
void px_verdict_write(struct px_buffer *out, const struct px_verify_tests *tests, size_t index, enum px_verdict verdict,
                      pyexec_result *result, const pyexec_result *solution);

/* Appends the object about the run of the solution itself. */
void px_verdict_write_solution(struct px_buffer *out, const struct px_verify_tests *tests, pyexec_result *result);

/* The result of a test for which the solution's process can't be forked, which is the solution's doing. Takes `error`. Returns 0, or -1 with another
 * error. */
int px_verdict_not_forkable(pyexec_result **ret, pyexec_error *error);

#endif
