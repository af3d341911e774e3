/* SPDX-License-Identifier: Apache-2.0 */
/* A raw clone leaves the parent's thread id in the C library's data, but pthread_kill, abort and mutexes use it. */
#ifndef PX_GUEST_THREAD_ID_H
#define PX_GUEST_THREAD_ID_H

/* Looks for it, in a process whose only thread the C library itself started. It may start a second thread, which is not possible after
 * setns(2) into another PID namespace. */
void px_thread_id_find(void);

/* Where the C library keeps the thread's id, for CLONE_CHILD_SETTID and CLONE_CHILD_CLEARTID; NULL when that is not known. */
int *px_thread_id_address(void);

/* Called first in a process that was cloned with these flags. */
void px_thread_id_in_copy(void);

#endif
