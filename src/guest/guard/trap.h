/* SPDX-License-Identifier: Apache-2.0 */
/* Refused system calls: the SIGSYS handler that names the call and ends the run. seccomp's SECCOMP_RET_TRAP raises
 * SIGSYS synchronously at the call, so the handler runs like a function that the libc wrapper calls: no malloc is
 * half done, and the C API may be used while the GIL is held. When the script blocks or ignores SIGSYS, the kernel
 * kills it instead (seccomp(2)). In neither case is the call executed. */
#ifndef PX_GUEST_GUARD_TRAP_H
#define PX_GUEST_GUARD_TRAP_H

/* Called in the child, before the filter is installed: installs the handler, which runs on the stack of the call.
 * Returns 0, or -1 with errno. */
int px_trap_install(void);

#endif
