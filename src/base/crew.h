/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that wait together, so that a request can run on the thread that read it.
 *
 * All threads of a crew wait in one epoll instance. When a source has an event, one of them wakes and owns the source:
 * no other thread looks at it until the owner gives it back.
 *
 *   a thread waits → event → it owns the source → px_crew_give_back() → it goes on with its request, or waits again
 *
 * A thread that has a long request gives the source back first. The next event then wakes another thread, which waits
 * already. So while a service is at rest, no thread is woken only to take something over. */
#ifndef PX_BASE_CREW_H
#define PX_BASE_CREW_H

#include <stdbool.h>
#include <stddef.h>

#include "pyexec.h"

struct px_crew;

/* Its owner embeds it in a struct. */
struct px_crew_source {
    int fd;
    void (*ready)(struct px_crew_source *source); /* called by the thread that owns the source now */
};

/* Makes a crew with one thread. */
int px_crew_new(size_t stack_bytes, struct px_crew **ret, pyexec_error *error);

/* Adds a source: given back already, or owned by the caller. It must live longer than the crew's threads. Fails with
 * sys_errno EPERM for descriptors that are always readable, such as those of regular files. */
int px_crew_add(struct px_crew *crew, struct px_crew_source *source, bool given_back, pyexec_error *error);

/* A thread that will be busy for a long time calls this first. It makes sure that another thread waits, and starts one if
 * necessary. Returns 0, or an errno. */
int px_crew_reserve(struct px_crew *crew);

/* The source's next event wakes a thread. If it is readable now, that is an event too. */
void px_crew_give_back(struct px_crew *crew, struct px_crew_source *source);

/* No event of the source wakes a thread until it is given back. A thread that an earlier event has woken may already be
 * on its way, so a lock must protect what both use. For descriptors without hang-ups: epoll reports those always. */
void px_crew_keep(struct px_crew *crew, struct px_crew_source *source);

/* Waits until all threads have ended. A thread that serves a source ends afterwards. */
void px_crew_end(struct px_crew *crew);

/* Ends the crew too. It may be NULL. */
void px_crew_free(struct px_crew *crew);

#endif
