/* SPDX-License-Identifier: Apache-2.0 */
/* A template: a branch that runs nothing any more, and of which tests are made, one after another. A test has the state of its template,
 * and its namespaces; the template stands still while a test lives (docs/architecture.md, Templates). Not thread-safe: one thread
 * uses a template, and others at the same time use others of the same source. */
#ifndef PX_RUNNER_TEMPLATE_H
#define PX_RUNNER_TEMPLATE_H

#include "runner/branch.h"

struct px_template {
    struct px_child child;
    struct px_family_member *tests; /* stands for its test */
    struct stat user_namespace;
    int control; /* a socket to the family's process, about its tests */
    int swap;    /* a socket to the process that attaches the workspaces of its tests, or -1 */
    bool swaps;  /* its answer has not come yet */
    struct px_branch how;
};

/* Makes a template of `source`, as px_branch_start() makes a branch. Its workspace is the one that each test gets a copy of, and no
 * test can reach it. Returns 0, or -1 with `error`; call px_template_close() in both cases. */
int px_template_open(struct px_child *source, struct px_branch *how, struct px_template *ret, pyexec_error *error);
void px_template_close(struct px_template *template);

/* Makes a test, which waits for its call. The one before must have ended. *ret_late: the template has not made it in time. Returns 0, or
 * -1 with `error`, and then the template can't be used any more. */
int px_template_test(struct px_template *template, struct px_child *ret, bool *ret_late, pyexec_error *error);

/* Kills the test and waits for its end. Returns 0, or -1 with `error`, and then what the test has said is worth nothing. */
int px_template_end_test(struct px_template *template, struct px_child *test, pyexec_error *error);

#endif
