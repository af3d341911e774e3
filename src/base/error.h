/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that fill a pyexec_error. The struct has a fixed size and needs no allocation, so that it works in
 * a forked child and can be sent over a socket as it is. Each function returns -1, so that a caller can write:
 *
 *     return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't open '%s'", path); */
#ifndef PX_BASE_ERROR_H
#define PX_BASE_ERROR_H

#include <stdbool.h>

#include "pyexec.h"

/* Sets the code, the message and the code's default hint; errno in the error is 0. */
int px_error_set(pyexec_error *error, pyexec_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for a failed system call: ": " and the text of errno are added to the message. */
int px_error_errno(pyexec_error *error, pyexec_code code, int sys_errno, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Replaces the hint. */
int px_error_hint(pyexec_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the message. */
int px_error_wrap(pyexec_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* True if this errno means that the host has no more processes, memory or descriptors. */
bool px_errno_exhausted(int sys_errno);

/* `what` failed because the host has no more descriptors, processes, namespaces or memory: sets `overloaded`,
 * with a hint that names the limits that can give this errno. Any other errno sets `sandbox_unavailable`. */
int px_error_exhausted(pyexec_error *error, int sys_errno, const char *what);

/* A system call on something that the caller named failed: invalid_request with this hint, but
 * px_error_exhausted() where the errno says that the host has no more. */
int px_error_of_request(pyexec_error *error, int sys_errno, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Out of memory, as PYEXEC_INTERNAL. */
#define PX_OOM_HINT "The process, its cgroup or the machine has no memory left: give it more, or run less at a time."
int px_error_oom(pyexec_error *error);

/* HTTP status of a code (errors.def). */
int px_error_http_status(pyexec_code code);

#endif
