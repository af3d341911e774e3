/* SPDX-License-Identifier: Apache-2.0 */
/* Builtins that a script may expect: exit(), quit() and help(), which Python's site module would make but
 * isolate_site keeps out; and open() for the standard streams by their paths in /dev. */
#ifndef PX_GUEST_BUILTINS_H
#define PX_GUEST_BUILTINS_H

/* Called in the zygote. Returns 0, or -1 with a Python exception set. */
int px_builtins_prepare(void);

#endif
