/* SPDX-License-Identifier: Apache-2.0 */
#include "result/run_status.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/utf8.h"

static int set_status(pyexec_result *result, pyexec_status status, int exit_code)
{
    result->status = status;
    result->exit_code = exit_code;
    return 0;
}

static int set_text(char **slot, const char *text)
{
    free(*slot);
    *slot = strdup(text);
    return *slot ? 0 : -1;
}

/* True if the child's error is the exception that the first step of a limit raised. */
static bool claims_timeout(const pyexec_result *result)
{
    return result->claims.done && result->claims.type.length && strcmp(result->claims.type.data, "TimeoutError") == 0 &&
           strncmp(px_buffer_shown(&result->claims.message), "timeout", 7) == 0;
}

static int end_by_limit(pyexec_result *result, const struct px_exit_info *ending, const struct px_policy *policy)
{
    bool done = result->claims.done && !ending->protocol;
    char text[256];
    if (ending->cause == PX_STOP_CAUSE_TIMEOUT) {
        snprintf(text, sizeof text, "timeout: the script ran longer than timeout_ms=%" PRId64 "%s", policy->timeout_ms,
                 done ? "" : " and was killed");
        set_status(result, PYEXEC_STATUS_TIMEOUT, PYEXEC_EXIT_TIMEOUT);
    } else {
        snprintf(text, sizeof text, "timeout: the script used more CPU time than cpu_time_seconds=%" PRId64 "%s",
                 policy->cpu_time_seconds, done ? "" : " and was killed");
        set_status(result, PYEXEC_STATUS_CPU_LIMIT, done ? EXIT_FAILURE : PYEXEC_EXIT_KILLED);
    }
    return claims_timeout(result) ? 0 : px_result_set_error(result, "TimeoutError", text);
}

/* Adds a denial that the host found and that has no line. */
static int deny(pyexec_result *result, enum px_denial_layer layer, const char *what, const char *hint)
{
    return px_child_result_deny(&result->claims, layer, what, hint);
}

/* A trap does not name its call when the script blocks its signal: the kernel then ends the process (seccomp(2)). */
static int deny_unnamed_call(pyexec_result *result)
{
    return deny(result, PX_DENIAL_SYSCALL, "unknown, made while SIGSYS was blocked",
                "The sandbox does not allow this system call, and the run was ended. Leave SIGSYS "
                "unblocked, and the next refused call will be named.");
}

void px_run_status_workspace_full(pyexec_result *result)
{
    deny(
        result, PX_DENIAL_FILES, "the workspace is full",
        "It holds as much as workspace_bytes allows, or more than 20,000 entries or 64 levels of folders: delete files.");
}

/* The kernel does not report the sender of SIGKILL. */
static int end_by_stranger(pyexec_result *result)
{
    struct rlimit limit;
    char text[256] = "SIGKILL that pyexec did not send: the kernel's out-of-memory killer or an "
                     "operator";
    if (getrlimit(RLIMIT_CPU, &limit) == 0 && limit.rlim_max != RLIM_INFINITY)
        snprintf(text, sizeof text,
                 "SIGKILL that pyexec did not send: the kernel's out-of-memory "
                 "killer, an operator, or the limit of CPU time that pyexec was "
                 "started with (RLIMIT_CPU, %llu s), which counts for a whole "
                 "session",
                 (unsigned long long)limit.rlim_max);
    set_status(result, PYEXEC_STATUS_KILLED, PYEXEC_EXIT_KILLED);
    return px_result_set_error(result, "Killed", text);
}

/* memory.events of the cgroup says that the kernel's OOM killer ended the run. */
static int end_by_oom(pyexec_result *result, const struct px_exit_info *ending, const struct px_policy *policy)
{
    char text[256];
    set_status(result, PYEXEC_STATUS_MEMORY_LIMIT, PYEXEC_EXIT_KILLED);
    if (ending->oom == PX_OOM_OWN)
        snprintf(text, sizeof text,
                 "the kernel ended the run at the memory limit of its cgroup, "
                 "which follows from address_space_bytes=%" PRId64 " and workspace_bytes=%" PRId64,
                 policy->address_space_bytes, policy->workspace_bytes);
    else
        snprintf(text, sizeof text,
                 "the kernel ended the run because a memory limit above it, "
                 "which it shares with other runs, was reached");
    return px_result_set_error(result, "MemoryError", text);
}

static int end_by_signal(pyexec_result *result, const struct px_exit_info *ending, const struct px_policy *policy)
{
    char text[256];
    int signal = ending->status;
    const uint8_t *crash = result->claims.crash;
    /* PID 1 of a namespace survives the SIGABRT of abort() and dies of the instruction after it (pid_namespaces(7)): a fault on
     * x86-64, a breakpoint on arm64. So the signal that the child reported itself names the cause better. */
    if (crash[0] && (signal == SIGSEGV || signal == SIGTRAP))
        signal = crash[0];
    result->error_line = crash[0] ? result->claims.line : 0;
    const char *name = sigabbrev_np(signal), *words = sigdescr_np(signal);
    if (signal == SIGKILL && ending->oom != PX_OOM_NONE)
        return end_by_oom(result, ending, policy);
    if (signal == SIGKILL) {
        if (policy->cpu_time_seconds != PX_NONE &&
            ending->cpu_ns - ending->cpu_before_ns >= policy->cpu_time_seconds * INT64_C(1000000000)) {
            struct px_exit_info by_kernel = *ending;
            by_kernel.cause = PX_STOP_CAUSE_CPU;
            return end_by_limit(result, &by_kernel, policy);
        }
        return end_by_stranger(result);
    }
    if (crash[0] && crash[1]) {
        set_status(result, PYEXEC_STATUS_MEMORY_LIMIT, PYEXEC_EXIT_KILLED);
        snprintf(text, sizeof text,
                 "SIG%s (%s) after an allocation failed: "
                 "address_space_bytes=%" PRId64 " was used up",
                 name ? name : "?", words ? words : "unknown", policy->address_space_bytes);
        return px_result_set_error(result, "MemoryError", text);
    }
    set_status(result, PYEXEC_STATUS_CRASHED, PYEXEC_EXIT_SIGNAL + ending->status);
    if (signal == SIGSYS) {
        if (deny_unnamed_call(result) < 0)
            return -1;
        snprintf(text, sizeof text,
                 "SIGSYS: a system call that the sandbox does not allow, made "
                 "while SIGSYS was blocked");
    } else {
        snprintf(text, sizeof text, "SIG%s (%s)", name ? name : "?", words ? words : "unknown");
    }
    return px_result_set_error(result, "Crashed", text);
}

/* Handles a process that ended by itself without a result, as os._exit() does. */
static int end_without_result(pyexec_result *result, const struct px_exit_info *ending)
{
    char text[256];
    if (ending->protocol) {
        set_status(result, PYEXEC_STATUS_CRASHED, EXIT_FAILURE);
        snprintf(text, sizeof text, "the process sent %s on the result channel", ending->protocol);
    } else if (!ending->known) {
        set_status(result, PYEXEC_STATUS_KILLED, PYEXEC_EXIT_KILLED);
        return px_result_set_error(result, "Killed", "the sandbox's supervisor ended");
    } else {
        set_status(result, PYEXEC_STATUS_CRASHED, ending->status ? ending->status : EXIT_FAILURE);
        snprintf(text, sizeof text,
                 "the process ended with exit status %d before its result was "
                 "complete",
                 ending->status);
    }
    return px_result_set_error(result, "Crashed", text);
}

static int end_by_itself(pyexec_result *result, const struct px_policy *policy)
{
    const struct px_child_result *claims = &result->claims;
    char text[256];
    switch (claims->outcome) {
    case PX_OUTCOME_OK:
        return set_status(result, PYEXEC_STATUS_OK, EXIT_SUCCESS);
    case PX_OUTCOME_MEMORY:
        set_status(result, PYEXEC_STATUS_MEMORY_LIMIT, EXIT_FAILURE);
        if (claims->type.length)
            return 0;
        snprintf(text, sizeof text, "the script reached address_space_bytes=%" PRId64,
                 policy->address_space_bytes == PX_NONE ? 0 : policy->address_space_bytes);
        return px_result_set_error(result, "MemoryError", text);
    case PX_OUTCOME_TRAPPED: {
        size_t last = claims->denial_count;
        const struct pyexec_denial *denial = last ? &claims->denials[last - 1] : NULL;
        /* The denial may have been dropped (PX_DENIALS_MAX). */
        if (denial && denial->layer != PX_DENIAL_SYSCALL)
            denial = NULL;
        const char *what = denial ? px_buffer_string(&denial->what) : NULL;
        set_status(result, PYEXEC_STATUS_CRASHED, PYEXEC_EXIT_SIGNAL + SIGSYS);
        result->error_line = denial ? denial->line : 0;
        snprintf(text, sizeof text, "SIGSYS: the system call %.200s is not allowed", what ? what : "(unknown)");
        return px_result_set_error(result, "Crashed", text);
    }
    default:
        set_status(result, PYEXEC_STATUS_ERROR, claims->exit_code ? claims->exit_code : EXIT_FAILURE);
        return claims->type.length ? 0 : px_result_set_error(result, "Exception", "");
    }
}

static int adopt_json(pyexec_result *result, size_t limit)
{
    struct px_child_result *claims = &result->claims;
    struct px_buffer *json = &claims->value_json;
    uint64_t room = PX_JSON_ROOM;
    if (!json->length)
        return 0;
    errno = 0;
    result->has_value_json =
        json->length <= limit && px_json_claim_ok(px_buffer_string(json), json->length, false, &room);
    if (!result->has_value_json && errno == ENOMEM)
        return -1;
    px_buffer_done(&claims->value_json_error);
    if (!result->has_value_json)
        px_buffer_printf(&claims->value_json_error, "not JSON that pyexec passes on");
    return 0;
}

/* Copies the child's claims into the result, when it sent a complete one. */
static int adopt_claims(pyexec_result *result, const struct px_policy *policy)
{
    struct px_child_result *claims = &result->claims;
    result->has_value = claims->counts[PX_RESULT_VALUE] > 0;
    if (claims->value.length > (size_t)policy->max_value_bytes) {
        claims->value.length =
            px_utf8_truncate(claims->value.data, claims->value.length, (size_t)policy->max_value_bytes);
        claims->value.data[claims->value.length] = '\0';
        claims->value_truncated = true;
    }
    if (adopt_json(result, (size_t)policy->max_value_bytes) < 0)
        return -1;
    if (claims->type.length && px_result_set_error(result, claims->type.data, px_buffer_string(&claims->message)) < 0)
        return -1;
    result->error_line = claims->type.length ? claims->line : 0;
    if (claims->traceback.length && set_text(&result->traceback, claims->traceback.data) < 0)
        return -1;
    return 0;
}

int px_run_status_cancelled(pyexec_result *result)
{
    set_status(result, PYEXEC_STATUS_CANCELLED, PYEXEC_EXIT_CANCELLED);
    return px_result_set_error(result, "Cancelled", "the caller cancelled the run");
}

int px_run_status_decide(pyexec_result *result, const struct px_exit_info *ending, const struct px_policy *policy,
                         pyexec_error *error)
{
    const struct px_child_result *claims = &result->claims;
    bool done = claims->done && !ending->protocol;
    if (ending->protocol == px_no_memory)
        return px_error_oom(error);
    if (claims->setup.code != PYEXEC_OK) {
        *error = claims->setup;
        return -1;
    }
    if (!claims->locked && ending->cause != PX_STOP_CAUSE_CANCEL) {
        px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE,
                     "the run's process ended while the sandbox was being set up (%s %d)",
                     ending->code == CLD_EXITED ? "exit status" : "signal", ending->status);
        return px_error_hint(error, "If address_space_bytes is small, raise it; see `pyexec doctor`.");
    }
    int failed = done ? adopt_claims(result, policy) : 0;
    if (failed == 0 && ending->cause == PX_STOP_CAUSE_CANCEL)
        failed = px_run_status_cancelled(result);
    else if (failed == 0 && ending->cause != PX_STOP_CAUSE_NONE)
        failed = end_by_limit(result, ending, policy);
    else if (failed == 0 && done)
        failed = end_by_itself(result, policy);
    else if (failed == 0 && ending->known && ending->code != CLD_EXITED && !ending->protocol)
        failed = end_by_signal(result, ending, policy);
    else if (failed == 0)
        failed = end_without_result(result, ending);
    if (failed == 0 && result->status != PYEXEC_STATUS_OK) {
        errno = 0;
        result->error_hint = px_hint_for(result, policy);
        failed = !result->error_hint && errno == ENOMEM ? -1 : 0;
    }
    return failed < 0 ? px_error_oom(error) : 0;
}
