/* SPDX-License-Identifier: Apache-2.0 */
/* A source: a process with the solution in it, from which a branch is made for each test. The solution's code is either
 * compiled and has not run, or it has run once. */
#ifndef PX_EXECUTOR_VERIFY_SOURCE_H
#define PX_EXECUTOR_VERIFY_SOURCE_H

#include "executor/runtime.h"
#include "runner/branch.h"
#include "runner/run.h"
#include "runner/template.h"

struct px_verify_source {
    pyexec_executor *executor;
    struct px_policy policy; /* with `forkable` */
    struct px_zygote_group *kind;
    struct px_clone_request shape;
    struct px_child child;
    char workspace_path[PX_WORKSPACE_PATH_MAX];
    bool started;
};

/* Where a lane makes its tests of a source: a template, if there are enough tests. */
struct px_verify_place {
    struct px_template template;
    bool wanted, open;
};
void px_verify_place_done(struct px_verify_place *place);

/* Starts the process, puts the request's files into its workspace, and gives it the request's code (PX_CALL_COMPILE or
 * PX_CALL_SOLUTION). `zygotes`: those of another source of the same verify, or NULL. *ret_alive: branches can be made. Returns 0, or -1 with `error`; call px_verify_source_done() in both
 * cases. */
int px_verify_source_start(struct px_verify_source *source, pyexec_executor *executor, const struct px_policy *policy,
                           struct px_zygote_group *zygotes, enum px_call_kind kind, pyexec_request *request,
                           struct px_turn *turn, pyexec_result **ret, bool *ret_alive, pyexec_error *error);
void px_verify_source_done(struct px_verify_source *source);

/* Makes a branch, or a test of the place's template, and runs the request in it. Several threads may do this at once, each with a place
 * of its own. When none can be made, the error is session_not_forkable or another of the host. */
int px_verify_source_run(struct px_verify_source *source, struct px_verify_place *place, const struct px_policy *policy,
                         enum px_call_kind kind, pyexec_request *request, struct px_turn *turn, pyexec_result **ret,
                         pyexec_error *error);

#endif
