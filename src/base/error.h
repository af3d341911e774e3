/* SPDX-License-Identifier: Apache-2.0 */
/* Filling pyexec_error. The struct is fixed-size and needs no allocation, so it works in a
 * forked child and crosses a socket whole. Every function returns -1, to be returned on:
 *
 *     return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't open '%s'", path);
 */
#ifndef PX_BASE_ERROR_H
#define PX_BASE_ERROR_H

#include <stdbool.h>

#include "pyexec.h"

/* Sets code and message, the code's default hint, and errno 0. */
int px_error_set(pyexec_error *error, pyexec_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for a failed system call; ": strerror" is added to the message. */
int px_error_errno(pyexec_error *error, pyexec_code code, int sys_errno, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Replaces the hint. */
int px_error_hint(pyexec_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the message. */
int px_error_wrap(pyexec_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether this errno says that the host has no more processes, memory or descriptors. */
bool px_errno_exhausted(int sys_errno);

/* `what` failed for want of descriptors, processes, namespaces or memory of the host: overloaded,
 * with a hint that names the limits that give this errno. Another errno: sandbox_unavailable. */
int px_error_exhausted(pyexec_error *error, int sys_errno, const char *what);

/* Out of memory, as PYEXEC_INTERNAL. */
#define PX_OOM_HINT "The process, its cgroup or the machine has no memory left: give it more, or run less at a time."
int px_error_oom(pyexec_error *error);

/* HTTP status of a code (errors.def). */
int px_error_http_status(pyexec_code code);

#endif
