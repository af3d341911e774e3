/* SPDX-License-Identifier: Apache-2.0 */
/* Entering namespaces, and finding out by doing which ones this kernel or container refuses. */
#ifndef PX_SANDBOX_NAMESPACES_H
#define PX_SANDBOX_NAMESPACES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/layers.h"

/* A refused layer: marks it in *missing when `allowed` has it, else fails with
 * PYEXEC_SANDBOX_UNAVAILABLE, its name and its remedy. */
int px_layer_refuse(enum px_layer layer, int sys_errno, px_layers allowed, px_layers *missing, pyexec_error *error);

/* clone3 with these namespace flags (CLONE_NEW…), but those of layers that are missing already, into
 * `cgroup` unless it is -1; those that are refused are found one by one and handled as
 * px_layer_refuse does. Returns as fork; *ret_pidfd may be NULL. */
pid_t px_clone_namespaces(uint64_t flags, int cgroup, px_layers allowed, px_layers *missing, int *ret_pidfd,
                          pyexec_error *error);

/* clone3(2), or clone(2) where a container's seccomp profile answers ENOSYS to the former, as
 * Docker's default does. No stack, no cgroup then. Returns as fork. */
struct clone_args;
pid_t px_clone_call(const struct clone_args *args);

/* The same, for children without an exit signal of their own. Returns as fork. */
pid_t px_clone3(uint64_t flags, int exit_signal, int *ret_pidfd);

/* Writes setgroups=deny, uid_map and gid_map of a process below an open /proc.
 * `deny_setgroups` must be set for a writer without privilege (user_namespaces(7)). */
int px_write_id_maps(int proc_fd, const char *process, const char *uid_map, const char *gid_map, bool deny_setgroups);

#endif
