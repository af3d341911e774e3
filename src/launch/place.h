/* SPDX-License-Identifier: Apache-2.0 */
/* Changes a process of a family from outside, because its filter lets it do neither itself: writes the id maps of its user
 * namespace, without which it can't make another, and attaches its workspace in its mount namespace, or that of each of its tests. */
#ifndef PX_LAUNCH_PLACE_H
#define PX_LAUNCH_PLACE_H

#include "base/error.h"
#include "protocol/launch.h"

/* Called in a process of its own with the supervisor's rights, which it gives up here. The descriptors are those of
 * PX_LAUNCH_PLACE, or -1. Returns 0, or -1 with `error`. */
int px_place(const struct px_launch_zygote *request, const int fds[3], pyexec_error *error);

/* PX_LAUNCH_SWAP: enters the mount namespace of the process with this pidfd. Returns 0, or -1 with `error`. */
int px_place_enter_mounts(const struct px_launch_zygote *request, int pidfd, pyexec_error *error);

/* Then serves the socket until the host closes its end. */
void px_place_swap(const struct px_launch_zygote *request, int socket) __attribute__((noreturn));

#endif
