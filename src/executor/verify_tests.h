/* SPDX-License-Identifier: Apache-2.0 */
/* The request of verify: its tests, and how their results are compared (docs/verify.md). */
#ifndef PX_EXECUTOR_VERIFY_TESTS_H
#define PX_EXECUTOR_VERIFY_TESTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "pyexec.h"
#include "result/compare.h"

#define PX_VERIFY_TESTS_MAX 10000
#define PX_VERIFY_OUTPUT_MAX (1 << 20)

enum px_verify_kind { PX_VERIFY_STDIN, PX_VERIFY_CALL, PX_VERIFY_CODE, PX_VERIFY_KINDS };

/* All pointers are into the request's JSON. What is expected is never sent to a process. */
struct px_verify_test {
    enum px_verify_kind kind;
    const json_t *input;    /* a string, or NULL */
    const json_t *expected; /* a string for PX_VERIFY_STDIN, any value for PX_VERIFY_CALL, else NULL */
    const json_t *code;     /* for PX_VERIFY_CODE */
    char *call;             /* for PX_VERIFY_CALL: {"call", "args", "kwargs"} as text */
};

struct px_verify_tests {
    json_t *object; /* the whole request */
    struct px_verify_test *tests;
    size_t count;
    size_t counts[PX_VERIFY_KINDS];
    struct px_compare compare;
    bool stop_on_fail;
    size_t output_bytes; /* how much of each text a test's result shows */
    json_t *each;        /* a partial policy for the tests, or NULL */
    json_t *rest;        /* the members that every execution has, with the solution as "code" */
};

/* Reads the request, which must not change as long as *ret lives. Returns 0, or -1 with invalid_request; call
 * px_verify_tests_done() in both cases. */
int px_verify_tests_read(struct px_verify_tests *ret, json_t *object, pyexec_error *error);
void px_verify_tests_done(struct px_verify_tests *tests);

/* Returns "stdin", "call" or "code". */
const char *px_verify_kind_name(enum px_verify_kind kind);

#endif
