/* SPDX-License-Identifier: Apache-2.0 */
/* The source is made as a session that can be forked, without being one: it has no id, no caller reaches it, and it lives as
 * long as its verify. */
#include "executor/verify_source.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "result/result.h"

#define FORK_LEAST_MS 2000

/* In a forkable process the path of the workspace has two parts, because Landlock's rule is for the folder above it. */
#define WORKSPACE "/workspace/solution"

static struct px_run_context context_of(struct px_verify_source *source, const struct px_policy *policy,
                                        pyexec_request *request, struct px_turn *turn)
{
    return px_runtime_context(source->executor, source->kind, policy, request, turn);
}

static int start(struct px_verify_source *source, struct px_zygote_group *kind, pyexec_request *request,
                 pyexec_error *error)
{
    if (kind)
        px_runtime_share(source->executor, kind);
    source->kind = kind;
    if ((!kind && px_runtime_acquire(source->executor, &source->policy, &source->kind, error) < 0) ||
        px_runtime_check_limits(&source->policy, source->kind->zygotes, error) < 0)
        return -1;
    bool files = px_policy_files(&source->policy) != PX_FILES_NONE || request->working_dir;
    snprintf(source->workspace_path, sizeof source->workspace_path, "%s", files ? WORKSPACE : "/workspace");
    struct px_child_options options = {
        .policy = &source->policy, .request = request, .workspace_path = source->workspace_path, .session = true};
    px_child_shape(&source->shape, &options);
    source->started = true;
    return px_child_start(&source->child, source->executor->launcher, source->kind->zygotes, &source->shape, -1, -1,
                          error);
}

int px_verify_source_start(struct px_verify_source *source, pyexec_executor *executor, const struct px_policy *policy,
                           struct px_zygote_group *zygotes, enum px_call_kind kind, pyexec_request *request,
                           struct px_turn *turn, pyexec_result **ret, bool *ret_alive, pyexec_error *error)
{
    *source = (struct px_verify_source){.executor = executor};
    if (px_policy_copy(&source->policy, policy, error) < 0)
        return -1;
    if (policy->allowed_hosts.count) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "verify: a solution can't have a network by name (allowed_hosts)");
        return px_error_hint(
            error, "Set allowed_hosts to [] in the policy of this request: tests give a solution what it needs.");
    }
    source->policy.forkable = true;
    source->policy.print_last_expression = false;
    if (start(source, zygotes, request, error) < 0)
        return -1;
    if (kind == PX_CALL_SOLUTION)
        px_zygotes_expect_displays(source->kind->zygotes); /* the next source finds ready what calls need */
    struct px_run_context context = context_of(source, &source->policy, request, turn);
    struct px_call call = {.kind = kind, .child = &source->child, .workspace_path = source->workspace_path};
    return px_run_call(&context, &call, ret, ret_alive, error);
}

void px_verify_source_done(struct px_verify_source *source)
{
    if (source->started)
        px_child_done(&source->child);
    if (source->kind)
        px_runtime_release(source->executor, source->kind);
    px_policy_done(&source->policy);
    *source = (struct px_verify_source){0};
}

void px_verify_place_done(struct px_verify_place *place)
{
    if (place->open)
        px_template_close(&place->template);
    place->open = false;
}

/* Functions that the solution has given to os.register_at_fork() have the time of a test, and no more: otherwise they could hold
 * the turn for hours. */
static struct px_branch how_to_fork(const struct px_verify_source *source, const struct px_policy *policy)
{
    return (struct px_branch){.shape = &source->shape,
                              .zygotes = source->kind->zygotes,
                              .folder = -1,
                              .mount = -1,
                              .timeout_ms = policy->timeout_ms < FORK_LEAST_MS         ? FORK_LEAST_MS
                                            : policy->timeout_ms < PX_SETUP_TIMEOUT_MS ? (int)policy->timeout_ms
                                                                                       : PX_SETUP_TIMEOUT_MS};
}

/* Another template is made when one has failed. But if it failed by its time, its source is ended, so that the tests that remain
 * do not take this time too. */
static int make_test(struct px_verify_source *source, struct px_verify_place *place, const struct px_policy *policy,
                     struct px_child *ret, pyexec_error *error)
{
    struct px_branch how = how_to_fork(source, policy);
    bool late = false;
    if (!place->open && px_template_open(&source->child, &how, &place->template, error) < 0) {
        px_template_close(&place->template);
        return -1;
    }
    place->open = true;
    if (px_template_test(&place->template, ret, &late, error) == 0)
        return 0;
    px_verify_place_done(place);
    if (late)
        px_child_kill(&source->child, false);
    return -1;
}

static int call(struct px_verify_source *source, const struct px_policy *policy, enum px_call_kind kind,
                pyexec_request *request, struct px_turn *turn, struct px_child *child, pyexec_result **ret,
                pyexec_error *error)
{
    bool alive;
    struct px_run_context context = context_of(source, policy, request, turn);
    struct px_call call = {.kind = kind,
                           .filename = kind == PX_CALL_COMPILED ? "<cell>" : "<cell test>",
                           .only_call = true,
                           .child = child,
                           .locked = true,
                           .later = true,
                           .workspace_path = source->workspace_path};
    return px_run_call(&context, &call, ret, &alive, error);
}

int px_verify_source_run(struct px_verify_source *source, struct px_verify_place *place, const struct px_policy *policy,
                         enum px_call_kind kind, pyexec_request *request, struct px_turn *turn, pyexec_result **ret,
                         pyexec_error *error)
{
    struct px_child child;
    pyexec_error untrue;
    if (!place->wanted) {
        struct px_branch how = how_to_fork(source, policy);
        int result = px_branch_start(&source->child, &how, &child, error);
        if (result == 0)
            result = call(source, policy, kind, request, turn, &child, ret, error);
        px_child_done(&child);
        return result;
    }
    if (make_test(source, place, policy, &child, error) < 0)
        return -1;
    int result = call(source, policy, kind, request, turn, &child, ret, error);
    if (px_template_end_test(&place->template, &child, &untrue) == 0)
        return result;
    px_verify_place_done(place);
    if (result == 0)
        pyexec_result_free(TAKE_PTR(*ret));
    *error = untrue;
    return -1;
}
