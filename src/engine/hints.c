/* What to do next, for a model that reads it: from the status, and from error types whose cause
 * in a sandbox is known. */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/result.h"

static char *format(const char *text, ...) __attribute__((format(printf, 1, 2)));

static char *format(const char *text, ...)
{
    char *formatted = NULL;
    va_list arguments;
    va_start(arguments, text);
    int length = vasprintf(&formatted, text, arguments);
    va_end(arguments);
    return length < 0 ? NULL : formatted;
}

static char *status_hint(const pyexec_result *result, const struct px_policy *policy)
{
    switch (result->status) {
    case PYEXEC_STATUS_TIMEOUT:
        return format("Make the script end within %" PRId64 " ms: look for an endless loop, a "
                      "sleep or a wait for input, work on less data, or ask for a larger "
                      "timeout_ms.", policy->timeout_ms);
    case PYEXEC_STATUS_CPU_LIMIT:
        return format("Use a faster algorithm or less data: %" PRId64 " s of CPU time are allowed "
                      "(cpu_time_seconds).",
                      policy->cpu_time_seconds == PX_NONE ? 0 : policy->cpu_time_seconds);
    case PYEXEC_STATUS_MEMORY_LIMIT:
        return format("Process the data in smaller parts, use generators, and delete what is no "
                      "longer needed: %" PRId64 " bytes of address space are allowed "
                      "(address_space_bytes).",
                      policy->address_space_bytes == PX_NONE ? 0 : policy->address_space_bytes);
    case PYEXEC_STATUS_KILLED:
        return strdup("Run it again; if it is killed again, use less memory.");
    case PYEXEC_STATUS_CRASHED:
        if (result->exit_code == 128 + SIGSYS)
            return strdup("Do it without this system call; processes, debugging, mounts and "
                          "kernel settings are not available to scripts.");
        return format("The interpreter or an extension module crashed. Avoid ctypes and deep "
                      "native recursion; if the script needs much memory, the cause can be an "
                      "allocation that failed at address_space_bytes=%" PRId64 ".",
                      policy->address_space_bytes == PX_NONE ? 0 : policy->address_space_bytes);
    default:
        return NULL;
    }
}

static bool message_has(const pyexec_result *result, const char *part)
{
    return strstr(result->error_message, part) != NULL;
}

static char *error_hint(const pyexec_result *result, const struct px_policy *policy)
{
    const char *type = result->error_type;
    if (strcmp(type, "ModuleNotFoundError") == 0)
        return strdup(policy->isolate_site
                          ? "This interpreter sees only the standard library (isolate_site is "
                            "true): write it with the standard library, or ask for "
                            "isolate_site=false with a python_bin that has the package."
                          : "The package is not installed for this python_bin, and nothing can be "
                            "installed from a script: use another module.");
    if (strcmp(type, "EOFError") == 0)
        return strdup("There is no more standard input: pass the data in the request's stdin, or "
                      "put it into the code.");
    if (strcmp(type, "OSError") == 0 && message_has(result, "[Errno 24]"))
        return format("Close files, best with `with`: %" PRId64 " may be open at once "
                      "(max_open_files).",
                      policy->max_open_files == PX_NONE ? 0 : policy->max_open_files);
    if (strcmp(type, "OSError") == 0 &&
        (message_has(result, "[Errno 28]") || message_has(result, "[Errno 27]")))
        return format("Delete files or write less: the workspace holds %" PRId64 " bytes "
                      "(workspace_bytes).", policy->workspace_bytes);
    if (strcmp(type, "RuntimeError") == 0 && message_has(result, "can't start new thread"))
        return format("Use fewer threads: %" PRId64 " may run at once (max_threads).",
                      policy->max_threads);
    if (strcmp(type, "RecursionError") == 0)
        return strdup("Write it as a loop, or check that the recursion ends.");
    return NULL;
}

char *px_hint_for(const pyexec_result *result, const struct px_policy *policy)
{
    char *hint = status_hint(result, policy);
    if (!hint && result->error_type && result->error_message)
        hint = error_hint(result, policy);
    if (hint || !result->error_message)
        return hint;
    /* A refusal's message ends with its hint: "phrase. hint"; the last denial has it apart. */
    size_t count = json_array_size(result->claims.denials);
    for (size_t i = count; i-- > 0;) {
        const char *text = json_string_value(
            json_object_get(json_array_get(result->claims.denials, i), "hint"));
        if (text && *text && message_has(result, text))
            return strdup(text);
    }
    return NULL;
}
