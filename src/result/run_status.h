/* SPDX-License-Identifier: Apache-2.0 */
/* Decides the status, exit code and error of docs/results.md, from what the kernel says and what the child claims. */
#ifndef PX_RESULT_RUN_STATUS_H
#define PX_RESULT_RUN_STATUS_H

#include "result/result.h"

/* The action of the kernel's OOM killer in a run's cgroup. */
enum px_oom {
    PX_OOM_NONE,
    PX_OOM_OWN,   /* at the run's own memory.max */
    PX_OOM_ABOVE, /* at a limit of a folder above, or the machine's */
};

/* Why the host began to stop the run. When there are several reasons, the greatest value is kept. */
enum px_stop_cause { PX_STOP_CAUSE_NONE, PX_STOP_CAUSE_TIMEOUT, PX_STOP_CAUSE_CPU, PX_STOP_CAUSE_CANCEL };

struct px_exit_info {
    enum px_stop_cause cause;
    bool killed_by_us;     /* the host killed it after the grace period */
    const char *protocol;  /* how the child broke the protocol, or NULL */
    bool known;            /* code and status are set */
    int code, status;      /* CLD_… and the exit status or signal */
    unsigned oom;          /* enum px_oom */
    int64_t cpu_before_ns; /* CPU time used before the script began */
    int64_t cpu_ns;        /* CPU time used in total */
};

/* Returns 0, or -1 with `error` when the run never began because the host could not set it up. */
int px_run_status_decide(pyexec_result *result, const struct px_exit_info *ending, const struct px_policy *policy,
                         pyexec_error *error);

/* Makes this the result of a run that its caller has cancelled. Returns 0, or -1 when there is no memory. */
int px_run_status_cancelled(pyexec_result *result);

/* Adds a denial: the call's workspace holds more than its quota. The kernel does not enforce this quota. */
void px_run_status_workspace_full(pyexec_result *result);

#endif
