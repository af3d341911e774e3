/* The keeper of idle sessions. It sleeps until a timer, a death or output wakes it. */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/session_private.h"

#define MS INT64_C(1000000)
#define EVENTS_MAX 64
#define CPU_CHECK_MS 500    /* only while a session has threads that go on */

static int64_t expiry(const struct px_session_config *config, const struct px_session *session)
{
    int64_t when = INT64_MAX;
    if (session->busy)
        return when;
    if (config->idle_ttl_ms != PX_NONE)
        when = session->used_ns + config->idle_ttl_ms * MS;
    if (config->hard_ttl_ms != PX_NONE && session->created_ns + config->hard_ttl_ms * MS < when)
        when = session->created_ns + config->hard_ttl_ms * MS;
    return when;
}

/* Threads that go on between calls have the CPU time of one call. */
static bool used_up(const struct px_session *session)
{
    int64_t used = px_child_cpu_ns(&session->child);
    return used >= 0 && used - session->idle_cpu_ns >
                            session->policy.cpu_time_seconds * INT64_C(1000000000);
}

/* Ends what has expired; returns when the next one does. Call with the lock held. */
static int64_t expire(struct px_sessions *sessions)
{
    const struct px_session_config *config = &sessions->executor->session_config;
    int64_t now = px_now_ns(), next = INT64_MAX;
    for (struct px_session *session = sessions->oldest, *after; session; session = after) {
        after = session->next;
        int64_t when = expiry(config, session);
        if (when > now && session->threads_left && !session->busy) {
            if (used_up(session)) {
                px_session_end(sessions, session, PX_END_CPU_LIMIT, false);
                continue;
            }
            when = now + CPU_CHECK_MS * MS < when ? now + CPU_CHECK_MS * MS : when;
        }
        if (when > now) {
            next = when < next ? when : next;
            continue;
        }
        bool hard = config->hard_ttl_ms != PX_NONE &&
                    session->created_ns + config->hard_ttl_ms * MS <= now;
        px_session_end(sessions, session, hard ? PX_END_HARD_TTL : PX_END_IDLE_TTL, false);
    }
    return next;
}

/* Output of an idle session's threads is dropped; at its process's end the session ends. */
static void look_after(struct px_sessions *sessions, struct px_session *session)
{
    px_child_discard_output(&session->child);
    if (!px_child_alive(&session->child))
        px_session_end(sessions, session, PX_END_KILLED, false);
}

static int timeout_until(int64_t when)
{
    if (when == INT64_MAX)
        return -1;
    int64_t left = (when - px_now_ns() + MS - 1) / MS;
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static void *keep(void *argument)
{
    struct px_sessions *sessions = argument;
    struct epoll_event events[EVENTS_MAX];
    pthread_mutex_lock(&sessions->lock);
    while (!sessions->stopping) {
        int64_t next = expire(sessions);
        pthread_mutex_unlock(&sessions->lock);
        int count = epoll_wait(sessions->epoll, events, EVENTS_MAX, timeout_until(next));
        pthread_mutex_lock(&sessions->lock);
        for (int i = 0; i < count; i++) {
            uint64_t drained;
            if (events[i].data.fd == sessions->wake) {
                /* EAGAIN means that it is drained already. */
                (void)!read(sessions->wake, &drained, sizeof drained);
                continue;
            }
            /* The number is looked up anew: its session may have ended meanwhile. */
            for (struct px_session *session = sessions->oldest; session; session = session->next)
                if (!session->busy && session->started &&
                    (session->child.pidfd == events[i].data.fd ||
                     session->child.streams[0] == events[i].data.fd ||
                     session->child.streams[1] == events[i].data.fd)) {
                    look_after(sessions, session);
                    break;
                }
        }
    }
    pthread_mutex_unlock(&sessions->lock);
    return NULL;
}

static void set_watch(struct px_sessions *sessions, struct px_session *session, int operation)
{
    int fds[] = {session->child.pidfd, session->child.streams[0], session->child.streams[1]};
    for (size_t i = 0; i < PX_COUNT(fds); i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
        if (fds[i] >= 0)
            epoll_ctl(sessions->epoll, operation, fds[i], &event);
    }
}

void px_keeper_watch(struct px_sessions *sessions, struct px_session *session)
{
    set_watch(sessions, session, EPOLL_CTL_ADD);
    uint64_t one = 1;
    /* Its timer may be the first now. EAGAIN: it is awake already. */
    if ((sessions->count == 1 || session->threads_left) && write(sessions->wake, &one, sizeof one) < 0)
        return;
}

void px_keeper_unwatch(struct px_sessions *sessions, struct px_session *session)
{
    set_watch(sessions, session, EPOLL_CTL_DEL);
}

int px_keeper_start(struct px_sessions *sessions, pyexec_error *error)
{
    sessions->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sessions->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = sessions->wake};
    if (sessions->wake < 0 || sessions->epoll < 0 ||
        epoll_ctl(sessions->epoll, EPOLL_CTL_ADD, sessions->wake, &event) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make an epoll descriptor");
    int failed = pthread_create(&sessions->keeper, NULL, keep, sessions);
    if (failed)
        return px_error_errno(error, PYEXEC_INTERNAL, failed, "can't start a thread");
    sessions->keeper_runs = true;
    return 0;
}

void px_keeper_stop(struct px_sessions *sessions)
{
    uint64_t one = 1;
    if (sessions->keeper_runs) {
        pthread_mutex_lock(&sessions->lock);
        sessions->stopping = true;
        pthread_mutex_unlock(&sessions->lock);
        while (write(sessions->wake, &one, sizeof one) < 0 && errno == EINTR)
            ;
        pthread_join(sessions->keeper, NULL);
    }
    px_close_fd(&sessions->wake);
    px_close_fd(&sessions->epoll);
}
