/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run: the kernel's facts, the changed files, the result. */
#include <signal.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "result/run_status.h"
#include "runner/launcher.h"
#include "runner/run_private.h"

void px_run_collect_facts(struct run *run)
{
    struct px_exit_info *ending = &run->ending;
    pyexec_result *result = run->result;
    struct px_child_facts facts = {.cpu_ns = -1};
    bool done = result->claims.done && !ending->protocol;
    /* A process that was trapped in a refused system call says so and ends. The process of a session lives on after all others. */
    bool lives = done && result->claims.outcome != PX_OUTCOME_TRAPPED;
    bool known = lives && px_child_facts(&run->child, ending->cpu_before_ns, &facts);
    result->wall_ms = (double)(px_now_ns() - run->started_ns) / 1e6;
    if (!known && !(run->session && lives && px_child_alive(&run->child))) {
        struct px_launch_event event;
        px_child_signal(&run->child, SIGKILL);
        run->child.ended = true;
        if (px_launcher_await_exit(run->context->launcher, run->child.pid, 5000, &event) == 0) {
            ending->known = true;
            ending->code = event.code;
            ending->status = event.status;
            ending->oom = event.oom;
            facts.cpu_ns = (int64_t)(event.user_us + event.system_us) * 1000;
            facts.peak_bytes = event.peak_bytes;
        }
    }
    run->threads = facts.threads;
    result->peak_memory_bytes = facts.peak_bytes;
    ending->cpu_ns = facts.cpu_ns < 0 ? 0 : facts.cpu_ns;
    int64_t cpu = facts.cpu_ns - ending->cpu_before_ns;
    result->cpu_ms = cpu > 0 ? (double)cpu / 1e6 : 0;
}

int px_run_collect_files(struct run *run, const struct px_snapshot *before, pyexec_error *error)
{
    if (run->child.workspace < 0)
        return 0;
    struct px_snapshot after = {0};
    /* Files must not change while they are read, so the child of a single run is killed first. The process of a
     * session stays, and its threads may still write. */
    if (!run->session)
        px_child_kill(&run->child, !(px_zygotes_missing(run->context->zygotes) & PX_LAYER_BIT(PX_LAYER_SECCOMP)));
    int result = px_snapshot_take(run->child.workspace, &after, error);
    if (result == 0) {
        result = px_snapshot_changes(run->child.workspace, before, &after, &run->context->request->return_files,
                                     &run->result->files);
        if (result < 0)
            px_error_oom(error);
    }
    px_snapshot_done(&after);
    return result;
}

int px_run_finish(struct run *run, int result, pyexec_result **ret, pyexec_error *error)
{
    const struct px_run_context *context = run->context;
    struct px_child_result *claims = &run->result->claims;
    px_displays_finish(&claims->displays);
    if (claims->displays.count || context->request->value_json || context->request->inputs_length)
        px_zygotes_expect_displays(context->zygotes);
    if (result == 0 && run->receive_errno)
        result =
            px_error_errno(error, PYEXEC_INTERNAL, run->receive_errno, "the host can't receive from the run's process");
    if (result == 0)
        result = px_run_status_decide(run->result, &run->ending, context->policy, error);
    if (result == 0) {
        for (int which = 0; which < 2 && result == 0; which++)
            if (px_stream_finish(&run->result->streams[which], px_run_stream_cap(run, which)) < 0)
                result = px_error_oom(error);
    }
    if (result == 0) {
        run->result->missing = px_zygotes_missing(context->zygotes);
        if (context->request->workspace)
            run->result->missing |= PX_LAYER_BIT(PX_LAYER_WORKSPACE_QUOTA);
        px_result_set_environment(run->result, context->policy->env);
        *ret = TAKE_PTR(run->result);
    }
    pyexec_result_free(run->result);
    free(run);
    return result;
}
