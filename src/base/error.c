/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/utf8.h"

static const struct {
    const char *name;
    const char *hint;
    int http_status;
} codes[] = {
#define PX_ERROR(constant, name, status, hint) [constant] = {name, hint, status},
#include "base/errors.def"
#undef PX_ERROR
};

#define CODE_COUNT (sizeof codes / sizeof codes[0])

const char *pyexec_code_name(pyexec_code code)
{
    return (size_t)code < CODE_COUNT ? codes[code].name : "unknown";
}

int px_error_http_status(pyexec_code code)
{
    return (size_t)code < CODE_COUNT ? codes[code].http_status : 500;
}

/* The text goes into JSON, so it must not end in the middle of a UTF-8 character: the buffer's end or a
 * format's precision may have cut one. */
static void end_whole(char *text, size_t size)
{
    size_t length = strnlen(text, size), bad;
    if (length + 1 == size)
        text[length -= px_utf8_incomplete_tail(text, length)] = '\0';
    for (char *at = text; !px_utf8_valid(at, length, &bad); at += bad, length -= bad)
        at[bad] = '?';
}

__attribute__((format(printf, 4, 0))) static void fill(pyexec_error *error, pyexec_code code, int sys_errno,
                                                       const char *format, va_list args)
{
    error->code = code;
    error->sys_errno = sys_errno;
    /* In this time a few runs usually end. */
    error->retry_after_ms = code == PYEXEC_OVERLOADED ? 50 : 0;
    vsnprintf(error->message, sizeof error->message, format, args);
    snprintf(error->hint, sizeof error->hint, "%s", (size_t)code < CODE_COUNT ? codes[code].hint : "");
    end_whole(error->message, sizeof error->message);
}

int px_error_set(pyexec_error *error, pyexec_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(error, code, 0, format, args);
    va_end(args);
    return -1;
}

int px_error_errno(pyexec_error *error, pyexec_code code, int sys_errno, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(error, code, sys_errno, format, args);
    va_end(args);
    size_t used = strlen(error->message);
    /* strerrordesc_np is async-signal-safe and needs no locale, unlike strerror. */
    const char *reason = strerrordesc_np(sys_errno);
    snprintf(error->message + used, sizeof error->message - used, ": %s", reason ? reason : "unknown error");
    return -1;
}

int px_error_hint(pyexec_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->hint, sizeof error->hint, format, args);
    va_end(args);
    end_whole(error->hint, sizeof error->hint);
    return -1;
}

int px_error_wrap(pyexec_error *error, const char *format, ...)
{
    char inner[sizeof error->message];
    memcpy(inner, error->message, sizeof inner);
    va_list args;
    va_start(args, format);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, ": %s", inner);
    end_whole(error->message, sizeof error->message);
    return -1;
}

int px_error_oom(pyexec_error *error)
{
    px_error_errno(error, PYEXEC_INTERNAL, ENOMEM, "can't allocate memory");
    return px_error_hint(error, PX_OOM_HINT);
}

/* The kernel does not say which of several limits it was (clone(2), namespaces(7)). */
static const char *exhausted_hint(int sys_errno)
{
    switch (sys_errno) {
    case EAGAIN:
        return "A limit of processes is reached, of this user, its cgroup or the machine: raise RLIMIT_NPROC "
               "(ulimit -u), pids.max of the cgroup (TasksMax= in a unit of systemd), or the sysctls kernel.pid_max "
               "and kernel.threads-max; or close sessions. A thread also fails with this error if RLIMIT_AS (ulimit "
               "-v) leaves no room for its stack.";
    case ENOSPC:
        return "Raise the sysctls user.max_user_namespaces, user.max_pid_namespaces and user.max_mnt_namespaces "
               "(namespaces(7)), or close sessions: each session uses one namespace of each kind.";
    case ENOMEM:
        return "The machine or its cgroup has no memory left: give it more, or close sessions.";
    case ENFILE:
        return "The machine has reached its limit of open files: raise the sysctl fs.file-max.";
    default:
        return NULL;
    }
}

bool px_errno_exhausted(int sys_errno)
{
    return sys_errno == EAGAIN || sys_errno == ENOMEM || sys_errno == EMFILE || sys_errno == ENFILE;
}

int px_error_exhausted(pyexec_error *error, int sys_errno, const char *what)
{
    struct rlimit limit = {0};
    const char *hint = exhausted_hint(sys_errno);
    px_error_errno(error, hint || sys_errno == EMFILE ? PYEXEC_OVERLOADED : PYEXEC_SANDBOX_UNAVAILABLE, sys_errno, "%s",
                   what);
    if (hint)
        return px_error_hint(error, "%s", hint);
    if (sys_errno == EMFILE && getrlimit(RLIMIT_NOFILE, &limit) == 0)
        return px_error_hint(error,
                             "This process can have at most %llu open files (RLIMIT_NOFILE), and each session uses "
                             "four to six: raise the limit (ulimit -n; LimitNOFILE= in a unit of systemd), or "
                             "close sessions.",
                             (unsigned long long)limit.rlim_cur);
    return -1;
}

int px_error_of_request(pyexec_error *error, int sys_errno, const char *hint, const char *format, ...)
{
    char what[sizeof error->message];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (px_errno_exhausted(sys_errno))
        return px_error_exhausted(error, sys_errno, what);
    px_error_errno(error, PYEXEC_INVALID_REQUEST, sys_errno, "%s", what);
    return px_error_hint(error, "%s", hint);
}
