/* SPDX-License-Identifier: Apache-2.0 */
/* From what the kernel says and what the child claims to the status, exit code and error in
 * docs/results.md. */
#ifndef PX_RESULT_RUN_STATUS_H
#define PX_RESULT_RUN_STATUS_H

#include "result/result.h"

/* What the kernel's out-of-memory killer did in a run's cgroup. */
enum px_oom {
    PX_OOM_NONE,
    PX_OOM_OWN,   /* the run's own memory.max */
    PX_OOM_ABOVE, /* a limit of a folder above, or the machine's memory */
};

/* Why the host began to stop the run; the greater wins. */
enum px_stop_cause { PX_STOP_CAUSE_NONE, PX_STOP_CAUSE_TIMEOUT, PX_STOP_CAUSE_CPU, PX_STOP_CAUSE_CANCEL };

struct px_exit_info {
    enum px_stop_cause cause;
    bool killed_by_us;     /* after the grace period */
    const char *protocol;  /* how the child broke the protocol, or NULL */
    bool known;            /* code and status are set */
    int code, status;      /* CLD_… and exit status or signal */
    unsigned oom;          /* enum px_oom */
    int64_t cpu_before_ns; /* used before the script began */
    int64_t cpu_ns;        /* used in all */
};

/* 0, or -1 when the run never began (a set-up error of the host's side). */
int px_run_status_decide(pyexec_result *result, const struct px_exit_info *ending, const struct px_policy *policy,
                         pyexec_error *error);

/* Makes a result one of a run that its caller ended. 0, or -1: out of memory. */
int px_run_status_cancelled(pyexec_result *result);

/* A denial: the call's workspace holds more than its quota, which the kernel does not keep. */
void px_run_status_workspace_full(pyexec_result *result);

#endif
