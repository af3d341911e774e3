/* SPDX-License-Identifier: Apache-2.0 */
/* Refused system calls: the SIGSYS handler that names the call and ends the run.
 *
 * seccomp's SECCOMP_RET_TRAP raises SIGSYS synchronously at the call, so the handler runs like
 * a function called from the libc wrapper: nothing is in the middle of malloc, and the C API
 * may be used once the GIL is held. When the script blocks or ignores SIGSYS the kernel kills
 * it instead (seccomp(2)): the call is not executed either way. */
#ifndef PX_GUEST_GUARD_TRAP_H
#define PX_GUEST_GUARD_TRAP_H

/* Child, before the filter is installed: the handler, on the stack of the call. 0 or -1, errno. */
int px_trap_install(void);

#endif
