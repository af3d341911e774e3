/* SPDX-License-Identifier: Apache-2.0 */
/* The session monitor. It sleeps until a timer, a death or output of an idle session wakes it. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/thread.h"
#include "executor/session_order.h"
#include "executor/session_private.h"

#define SIGNAL_CPU SIGRTMAX

int64_t px_session_hard_end(const struct px_sessions *sessions, const struct px_session *session)
{
    int64_t ttl_ms = sessions->executor->session_config.hard_ttl_ms;
    return ttl_ms == PX_NONE ? INT64_MAX : session->created_ns + ttl_ms * PX_NS_PER_MS;
}

static int64_t expiry(const struct px_session_config *config, const struct px_session *session)
{
    int64_t when = INT64_MAX;
    if (session->state != PX_SESSION_IDLE)
        return when;
    if (config->idle_ttl_ms != PX_NONE)
        when = session->used_ns + config->idle_ttl_ms * PX_NS_PER_MS;
    if (config->hard_ttl_ms != PX_NONE && session->created_ns + config->hard_ttl_ms * PX_NS_PER_MS < when)
        when = session->created_ns + config->hard_ttl_ms * PX_NS_PER_MS;
    return when;
}

/* Between calls, the threads of a session may use as much CPU time as one call. A session that reports no threads
 * may still run: it can forge its last result and send it in the middle of the script. So each session has a timer
 * on the CPU clock of its process, which the kernel checks at no cost while the session is idle. */
static bool keeps_cpu(const struct px_session *session)
{
    return session->cpu_timed && session->state == PX_SESSION_IDLE && session->policy.cpu_time_seconds != PX_NONE;
}

static bool used_up(const struct px_session *session)
{
    int64_t used = px_child_cpu_ns(&session->child);
    return used >= 0 && used - session->idle_cpu_ns >= session->policy.cpu_time_seconds * INT64_C(1000000000);
}

/* The kernel queues a real-time signal of each timer, with the number of its session (timer_create(2)). */
static void check_cpu(struct px_sessions *sessions, uint64_t number)
{
    struct px_session *session = px_session_by_number(sessions, number);
    if (session && keeps_cpu(session) && used_up(session))
        px_session_end(sessions, session, PX_END_CPU_LIMIT, false);
}

static void check_signals(struct px_sessions *sessions)
{
    struct signalfd_siginfo signals[16];
    ssize_t n = px_read(sessions->signals, signals, sizeof signals);
    for (size_t i = 0; n > 0 && i < (size_t)n / sizeof signals[0]; i++)
        check_cpu(sessions, signals[i].ssi_ptr);
}

/* Ends the sessions that have expired, and returns when the next one expires. The caller holds the lock. */
static int64_t expire(struct px_sessions *sessions)
{
    const struct px_session_config *config = &sessions->executor->session_config;
    int64_t now = px_now_ns();
    struct px_session *session;
    while ((session = px_session_timers_first(&sessions->timers)) && session->expires_ns <= now) {
        bool hard = config->hard_ttl_ms != PX_NONE && session->created_ns + config->hard_ttl_ms * PX_NS_PER_MS <= now;
        px_session_end(sessions, session, hard ? PX_END_HARD_TTL : PX_END_IDLE_TTL, false);
    }
    return session ? session->expires_ns : INT64_MAX;
}

/* Drops what the threads of an idle session write, and ends the session when its process has ended. During a call,
 * the call does this itself. */
static void look_after(struct px_sessions *sessions, struct px_session *session)
{
    if (session->state != PX_SESSION_IDLE)
        return;
    px_child_discard_output(&session->child);
    if (!px_child_alive(&session->child))
        px_session_end(sessions, session, PX_END_KILLED, false);
}

/* The caller holds the lock. A session that ends is removed from the epoll set under the lock, so an event that is
 * read under the lock belongs to a session that lives. Events are read one at a time, because each may end a
 * session. */
static void take_events(struct px_sessions *sessions)
{
    struct epoll_event event;
    while (px_epoll_wait(sessions->epoll, &event, 1, 0) == 1) {
        if (event.data.ptr)
            look_after(sessions, event.data.ptr);
        else if (!px_wake_take(sessions->wake))
            break;
    }
}

static int timeout_until(int64_t when)
{
    if (when == INT64_MAX)
        return -1;
    int64_t left = (when - px_now_ns() + PX_NS_PER_MS - 1) / PX_NS_PER_MS;
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static void *keep(void *argument)
{
    struct px_sessions *sessions = argument;
    struct pollfd polled[] = {{sessions->epoll, POLLIN, 0}, {sessions->signals, POLLIN, 0}};
    sessions->monitor_tid = gettid();
    sem_post(&sessions->monitor_ready);
    pthread_mutex_lock(&sessions->lock);
    while (!sessions->stopping) {
        sessions->sleeps_until = expire(sessions);
        int timeout = timeout_until(sessions->sleeps_until);
        pthread_mutex_unlock(&sessions->lock);
        (void)!px_poll(polled, PX_COUNT(polled), timeout);
        pthread_mutex_lock(&sessions->lock);
        take_events(sessions);
        check_signals(sessions);
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

/* The process is watched from its first call to its end. The watch is edge-triggered, because during a call the
 * call itself notices the end. The streams are watched only while threads can write to them. */
void px_session_monitor_idle(struct px_sessions *sessions, struct px_session *session)
{
    if (!session->watched)
        set_watch(sessions, session->child.pidfd, EPOLLIN | EPOLLET, session);
    session->watched = true;
    if (session->threads_left)
        watch_output(sessions, session, true);
    if (keeps_cpu(session)) {
        const struct itimerspec limit = {.it_value.tv_sec = session->policy.cpu_time_seconds};
        timer_settime(session->cpu_timer, 0, &limit, NULL);
    }
    int64_t when = expiry(&sessions->executor->session_config, session);
    px_session_timer_set(&sessions->timers, session, when);
    px_session_owner_idle(session);
    if (when < sessions->sleeps_until && px_wake(sessions->wake))
        sessions->sleeps_until = when;
}

/* The timer sends its signal to the monitor's thread, which blocks it and reads it from a descriptor
 * (timer_create(2), signalfd(2)). So no other thread gets it, and no handler is changed. The timer's memory is
 * allocated here, so that starting the timer can't fail. */
int px_session_monitor_time(struct px_sessions *sessions, struct px_session *session, pyexec_error *error)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGNAL_CPU};
    event._sigev_un._tid = sessions->monitor_tid;
    event.sigev_value.sival_ptr = (void *)(uintptr_t)session->number;
    if (!session->child.host_pid || session->policy.cpu_time_seconds == PX_NONE)
        return 0;
    timer_t timer;
    if (timer_create(session->child.cpu_clock, &event, &timer) == 0) {
        /* The session may be closed just now. Then px_session_free() deletes the timer. */
        pthread_mutex_lock(&sessions->lock);
        session->cpu_timer = timer;
        session->cpu_timed = true;
        pthread_mutex_unlock(&sessions->lock);
        return 0;
    }
    if (errno == EINVAL) /* the process has ended (timer_create(2)); what reads its messages says why */
        return 0;
    px_error_errno(error, PYEXEC_OVERLOADED, errno, "can't make a timer of CPU time");
    return px_error_hint(error, "Raise the host's limit of pending signals (ulimit -i).");
}

void px_session_monitor_busy(struct px_sessions *sessions, struct px_session *session)
{
    px_session_timer_stop(&sessions->timers, session);
    px_session_owner_busy(session);
    watch_output(sessions, session, false);
}

void px_session_monitor_forget(struct px_sessions *sessions, struct px_session *session)
{
    px_session_monitor_busy(sessions, session);
    if (session->watched)
        set_watch(sessions, session->child.pidfd, 0, NULL);
    session->watched = false;
    if (session->cpu_timed)
        timer_delete(session->cpu_timer);
    session->cpu_timed = false;
}

int px_session_monitor_start(struct px_sessions *sessions, pyexec_error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL_CPU);
    sessions->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    sem_init(&sessions->monitor_ready, 0, 0);
    sessions->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sessions->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}; /* not an event of a session */
    if (sessions->signals < 0 || sessions->wake < 0 || sessions->epoll < 0 ||
        epoll_ctl(sessions->epoll, EPOLL_CTL_ADD, sessions->wake, &event) < 0)
        return px_error_exhausted(error, errno, "can't make an epoll descriptor");
    int failed = px_thread_create(&sessions->monitor, keep, sessions);
    if (failed)
        return px_error_exhausted(error, failed, "can't start a thread");
    sessions->monitor_runs = true;
    px_sem_wait(&sessions->monitor_ready);
    return 0;
}

void px_session_monitor_stop(struct px_sessions *sessions)
{
    if (sessions->monitor_runs) {
        pthread_mutex_lock(&sessions->lock);
        sessions->stopping = true;
        pthread_mutex_unlock(&sessions->lock);
        px_wake(sessions->wake);
        pthread_join(sessions->monitor, NULL);
    }
    px_close_fd(&sessions->signals);
    px_close_fd(&sessions->wake);
    px_close_fd(&sessions->epoll);
    sem_destroy(&sessions->monitor_ready);
}
