/* SPDX-License-Identifier: Apache-2.0 */
/* The process of a family: of a session that can be forked, and of its branches. It is PID 1 of the PID namespace in
 * which they all live, never runs a script, and answers the questions of their filter (sandbox/syscalls_forkable.def).
 * When it ends, the kernel ends the family. */
#ifndef PX_LAUNCH_FAMILY_PROCESS_H
#define PX_LAUNCH_FAMILY_PROCESS_H

/* Called in the new process, which owns the sockets: `control` leads to the host, and on `handover` the first process
 * of the family sends the listener of its filter. */
void px_family_run(int control, int handover) __attribute__((noreturn));

#endif
