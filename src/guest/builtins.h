/* SPDX-License-Identifier: Apache-2.0 */
/* Builtins that a script may expect: exit(), quit() and help(), which Python's site module makes and
 * isolate_site leaves out; and open() of the standard streams by their paths in /dev. */
#ifndef PX_GUEST_BUILTINS_H
#define PX_GUEST_BUILTINS_H

/* Zygote. 0, or -1 with a Python exception set. */
int px_builtins_prepare(void);

#endif
