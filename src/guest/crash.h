/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of a fatal signal before it kills: which it was, the script's line, and
 * whether the address space was used up, since a failed allocation is the usual cause in an
 * extension module that does not check. */
#ifndef PX_GUEST_CRASH_H
#define PX_GUEST_CRASH_H

#include <stdint.h>

/* Child, before lock-down: handlers for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, once each;
 * the signal's own effect follows. `address_space_bytes` UINT64_MAX: no limit. 0 or -1, errno. */
int px_crash_install(int channel, uint64_t address_space_bytes);

#endif
