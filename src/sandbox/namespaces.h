/* SPDX-License-Identifier: Apache-2.0 */
/* Entering namespaces, and finding out by trying which ones this kernel or container refuses. */
#ifndef PX_SANDBOX_NAMESPACES_H
#define PX_SANDBOX_NAMESPACES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/layers.h"

/* Called for a refused layer. If `allowed` has it, it is added to *missing; otherwise fails with
 * PYEXEC_SANDBOX_UNAVAILABLE, the layer's name and its remedy. */
int px_layer_refuse(enum px_layer layer, int sys_errno, px_layers allowed, px_layers *missing, pyexec_error *error);

/* Makes a process in new namespaces: clone3 with these flags (CLONE_NEW…), except those of layers that are missing
 * already. The process is in `cgroup` unless it is -1. Finds refused namespaces one by one, and handles each like
 * px_layer_refuse(). Returns as fork does;
 * `ret_pidfd` may be NULL. */
pid_t px_clone_namespaces(uint64_t flags, int cgroup, px_layers allowed, px_layers *missing, int *ret_pidfd,
                          pyexec_error *error);

/* clone3(2), or clone(2) where a container's seccomp profile answers ENOSYS to clone3, as Docker's default
 * profile does; then without a stack and a cgroup. Returns as fork does. */
struct clone_args;
pid_t px_clone_call(const struct clone_args *args);

/* The same, for children that send no signal when they end. Returns as fork does. */
pid_t px_clone3(uint64_t flags, int exit_signal, int *ret_pidfd);

/* Writes setgroups=deny, uid_map and gid_map of a process whose /proc folder is open. A writer without
 * privileges must set `deny_setgroups` (user_namespaces(7)). */
int px_write_id_maps(int proc_fd, const char *process, const char *uid_map, const char *gid_map, bool deny_setgroups);

#endif
