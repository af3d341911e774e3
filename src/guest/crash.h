/* SPDX-License-Identifier: Apache-2.0 */
/* Reports a fatal signal before it kills the process: its number, the script's line, and whether the address space
 * was used up. An extension module that does not check for a failed allocation is the usual cause of such a
 * signal. */
#ifndef PX_GUEST_CRASH_H
#define PX_GUEST_CRASH_H

#include <stdint.h>

/* Called in the child, before lock-down: installs handlers for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT. Each
 * handler runs once, and then the signal has its default effect. `address_space_bytes` is UINT64_MAX when there is
 * no limit. Returns 0, or -1 with errno. */
int px_crash_install(int channel, uint64_t address_space_bytes);

#endif
