/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/thread.h"

#define IDLE_MS 30000 /* a thread that has nothing to do for this long ends, if another one waits */

struct px_crew {
    pthread_mutex_t lock;
    pthread_cond_t left;
    int epoll, wake;
    size_t stack_bytes;
    size_t threads, waiting;       /* waiting: in epoll_wait(), or on the way there */
    struct px_ended_threads ended; /* threads */
    bool ending;
};

/* epoll wakes the thread that began to wait last, so the others reach their time limit. */
static void *work(void *argument)
{
    struct px_crew *crew = argument;
    struct epoll_event event;
    pthread_mutex_lock(&crew->lock);
    while (!crew->ending) {
        pthread_mutex_unlock(&crew->lock);
        int count = px_epoll_wait(crew->epoll, &event, 1, IDLE_MS);
        pthread_mutex_lock(&crew->lock);
        crew->waiting--;
        struct px_crew_source *source = count == 1 ? event.data.ptr : NULL;
        if (source) {
            pthread_mutex_unlock(&crew->lock);
            source->ready(source);
            pthread_mutex_lock(&crew->lock);
        } else if (count == 0 && crew->waiting) {
            crew->waiting++;
            break;
        }
        crew->waiting++;
    }
    crew->waiting--;
    crew->threads--;
    struct px_ended_threads before = px_threads_leave(&crew->ended);
    pthread_cond_broadcast(&crew->left);
    pthread_mutex_unlock(&crew->lock);
    px_threads_join(before);
    return NULL;
}

/* With the lock held. Returns 0 or an errno. */
static int start_thread(struct px_crew *crew)
{
    pthread_t thread;
    int failed = px_thread_create_sized(&thread, crew->stack_bytes, work, crew);
    if (!failed) {
        crew->threads++;
        crew->waiting++;
    }
    return failed;
}

int px_crew_reserve(struct px_crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    int failed = crew->waiting ? 0 : start_thread(crew);
    pthread_mutex_unlock(&crew->lock);
    return failed;
}

int px_crew_new(size_t stack_bytes, struct px_crew **ret, pyexec_error *error)
{
    struct px_crew *crew = calloc(1, sizeof *crew);
    if (!crew)
        return px_error_oom(error);
    crew->stack_bytes = stack_bytes;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->left, NULL);
    crew->epoll = epoll_create1(EPOLL_CLOEXEC);
    crew->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN};
    bool made = crew->epoll >= 0 && crew->wake >= 0 && epoll_ctl(crew->epoll, EPOLL_CTL_ADD, crew->wake, &event) == 0;
    int failed = made ? px_crew_reserve(crew) : errno;
    if (failed) {
        px_crew_free(crew);
        return px_error_exhausted(error, failed, "can't start a thread that waits for requests");
    }
    *ret = crew;
    return 0;
}

/* ---- Sources ---- */

/* EPOLLONESHOT: an event disables the source, and only its owner enables it again. */
static struct epoll_event event_of(struct px_crew_source *source, bool enabled)
{
    return (struct epoll_event){.events = EPOLLONESHOT | (enabled ? EPOLLIN : 0), .data.ptr = source};
}

int px_crew_add(struct px_crew *crew, struct px_crew_source *source, bool given_back, pyexec_error *error)
{
    struct epoll_event event = event_of(source, given_back);
    if (epoll_ctl(crew->epoll, EPOLL_CTL_ADD, source->fd, &event) == 0)
        return 0;
    return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't wait for a descriptor");
}

/* These can't fail: the source is there. */
void px_crew_give_back(struct px_crew *crew, struct px_crew_source *source)
{
    struct epoll_event event = event_of(source, true);
    (void)!epoll_ctl(crew->epoll, EPOLL_CTL_MOD, source->fd, &event);
}

void px_crew_keep(struct px_crew *crew, struct px_crew_source *source)
{
    struct epoll_event event = event_of(source, false);
    (void)!epoll_ctl(crew->epoll, EPOLL_CTL_MOD, source->fd, &event);
}

/* ---- The end ---- */

void px_crew_end(struct px_crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    crew->ending = true;
    if (crew->threads)
        px_wake(crew->wake);
    while (crew->threads)
        pthread_cond_wait(&crew->left, &crew->lock);
    struct px_ended_threads ended = crew->ended;
    crew->ended.any = false;
    pthread_mutex_unlock(&crew->lock);
    px_threads_join(ended);
}

void px_crew_free(struct px_crew *crew)
{
    if (!crew)
        return;
    px_crew_end(crew);
    px_close_fd(&crew->epoll);
    px_close_fd(&crew->wake);
    pthread_cond_destroy(&crew->left);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}
