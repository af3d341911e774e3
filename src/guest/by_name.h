/* SPDX-License-Identifier: Apache-2.0 */
/* The network namespace of a child with allowed_hosts. The zygote makes it, so it belongs to the zygote's user namespace: no
 * capability that a child could get in its own one means anything there. */
#ifndef PX_GUEST_BY_NAME_H
#define PX_GUEST_BY_NAME_H

#include "base/error.h"

/* Enters a new network namespace in which nothing exists but the loopback interface and a listener for the proxy. The next clone is in
 * it. Returns 0, or -1 with `error`; call px_by_name_leave() in both cases. */
int px_by_name_enter(int *ret_listener, pyexec_error *error);

/* Returns to the zygote's own namespace, or ends the zygote: its next child would get into that of this one. */
void px_by_name_leave(int own_namespace);

#endif
