/* SPDX-License-Identifier: Apache-2.0 */
/* A raw clone leaves the parent's thread id in the C library's data, but pthread_kill, abort and mutexes use it. */
#ifndef PX_GUEST_THREAD_ID_H
#define PX_GUEST_THREAD_ID_H

/* Where the C library keeps the thread's id, for CLONE_CHILD_SETTID and CLONE_CHILD_CLEARTID; NULL when that is not known. It is looked
 * up once, by a thread that the C library itself started. */
int *px_thread_id_address(void);

/* Called first in a process that was cloned with these flags. */
void px_thread_id_in_copy(void);

#endif
