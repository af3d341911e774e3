/* The keeper of idle sessions. It sleeps until a timer, a death or output wakes it. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/session_private.h"

#define MS INT64_C(1000000)
#define CPU_CHECK_MS 500

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

/* Between calls a session has the CPU time of one call, for threads that go on. One that shows none
 * may run as well: its last result can be forged, and sent in the middle of the script. */
static bool keeps_cpu(const struct px_session *session)
{
    return !session->busy && session->started && session->policy.cpu_time_seconds != PX_NONE;
}

/* Without threads it is looked at less and less, so that it costs nothing; all are at the same
 * moments, so that the keeper wakes seldom. */
static int64_t next_cpu_check(const struct px_session *session, int64_t now)
{
    const int64_t step = CPU_CHECK_MS * MS;
    int64_t wait = session->threads_left ? step : (now - session->used_ns) / 8;
    return (now + (wait < step ? step : wait) + step - 1) / step * step;
}

static bool used_up(const struct px_session *session)
{
    int64_t used = px_child_cpu_ns(&session->child);
    return used >= 0 && used - session->idle_cpu_ns >
                            session->policy.cpu_time_seconds * INT64_C(1000000000);
}

/* When the keeper must look at it next. */
static int64_t wakes_at(const struct px_session_config *config, const struct px_session *session)
{
    int64_t when = expiry(config, session);
    return keeps_cpu(session) && session->cpu_check_ns < when ? session->cpu_check_ns : when;
}

/* Ends what has expired; returns when the next one does. Call with the lock held. */
static int64_t expire(struct px_sessions *sessions)
{
    const struct px_session_config *config = &sessions->executor->session_config;
    int64_t now = px_now_ns(), next = INT64_MAX;
    for (struct px_session *session = sessions->oldest, *after; session; session = after) {
        after = session->next;
        if (keeps_cpu(session) && session->cpu_check_ns <= now) {
            if (used_up(session)) {
                px_session_end(sessions, session, PX_END_CPU_LIMIT, false);
                continue;
            }
            session->cpu_check_ns = next_cpu_check(session, now);
        }
        int64_t when = wakes_at(config, session);
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

/* Output of an idle session's threads is dropped; at its process's end the session ends. A busy
 * one is its call's business, which looks itself when it ends. */
static void look_after(struct px_sessions *sessions, struct px_session *session)
{
    if (session->busy)
        return;
    px_child_discard_output(&session->child);
    if (!px_child_alive(&session->child))
        px_session_end(sessions, session, PX_END_KILLED, false);
}

/* Call with the lock held: what ends a session takes it out of the epoll set under the lock, so
 * that an event got under it is of a session that lives. One at a time, since each may end one. */
static void take_events(struct px_sessions *sessions)
{
    struct epoll_event event;
    uint64_t drained;
    while (epoll_wait(sessions->epoll, &event, 1, 0) == 1) {
        if (event.data.ptr)
            look_after(sessions, event.data.ptr);
        else if (read(sessions->wake, &drained, sizeof drained) < 0)
            break;
    }
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
    pthread_mutex_lock(&sessions->lock);
    while (!sessions->stopping) {
        sessions->sleeps_until = expire(sessions);
        int timeout = timeout_until(sessions->sleeps_until);
        pthread_mutex_unlock(&sessions->lock);
        struct pollfd polled = {sessions->epoll, POLLIN, 0};
        poll(&polled, 1, timeout);
        pthread_mutex_lock(&sessions->lock);
        take_events(sessions);
    }
    pthread_mutex_unlock(&sessions->lock);
    return NULL;
}

static void set_watch(struct px_sessions *sessions, int fd, uint32_t events, struct px_session *session)
{
    struct epoll_event event = {.events = events, .data.ptr = session};
    if (fd >= 0)
        epoll_ctl(sessions->epoll, events ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event);
}

static void watch_output(struct px_sessions *sessions, struct px_session *session, bool on)
{
    for (int which = 0; which < 2 && session->output_watched != on; which++)
        set_watch(sessions, session->child.streams[which], on ? EPOLLIN : 0, session);
    session->output_watched = on;
}

/* The process is watched from its first call to its end, by edge: while a call has it, its end
 * is seen there. Its streams only while threads can write to them. */
void px_keeper_idle(struct px_sessions *sessions, struct px_session *session)
{
    if (!session->watched)
        set_watch(sessions, session->child.pidfd, EPOLLIN | EPOLLET, session);
    session->watched = true;
    if (session->threads_left)
        watch_output(sessions, session, true);
    session->cpu_check_ns = next_cpu_check(session, px_now_ns());
    int64_t when = wakes_at(&sessions->executor->session_config, session);
    uint64_t one = 1;
    /* EAGAIN: it is awake already. */
    if (when < sessions->sleeps_until && write(sessions->wake, &one, sizeof one) > 0)
        sessions->sleeps_until = when;
}

void px_keeper_busy(struct px_sessions *sessions, struct px_session *session)
{
    watch_output(sessions, session, false);
}

void px_keeper_forget(struct px_sessions *sessions, struct px_session *session)
{
    watch_output(sessions, session, false);
    if (session->watched)
        set_watch(sessions, session->child.pidfd, 0, NULL);
    session->watched = false;
}

int px_keeper_start(struct px_sessions *sessions, pyexec_error *error)
{
    sessions->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sessions->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};     /* of no session */
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
