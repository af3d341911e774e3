/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/drive.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crew.h"
#include "base/error.h"
#include "serve/server.h"

#define CALLS_MAX 32 /* of libmicrohttpd, by a thread that has the lock */

struct px_drive {
    struct px_listener *listener;
    pthread_mutex_t lock; /* held while libmicrohttpd runs */
    struct px_crew_source daemon;
    struct px_crew_source rest; /* always ready: wakes a thread for what libmicrohttpd has not finished yet */
};

/* What the thread of a listener does now. */
struct at_work {
    struct px_drive *drive;
    struct px_begun_job begun;       /* a job that libmicrohttpd's callbacks have left for this thread */
    const struct px_job *running;    /* the job that it runs */
    struct px_http_request *resumes; /* the request of this job, when its answer is ready */
    bool answers_last;
};
static _Thread_local struct at_work *at_work;

static bool has_more(const struct px_drive *drive)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    bool waits = MHD_get_timeout(drive->listener->daemon, &wait_ms) == MHD_YES;
    drive->listener->due_ns = waits ? px_now_ns() + (int64_t)wait_ms * PX_NS_PER_MS : 0;
    return waits && !wait_ms;
}

/* With the lock held. Returns when there is nothing to do, when there is a job for this thread, and after some time: others wait
 * for the lock, and clients that send without a pause must not keep it. True: there is more to do. When a connection
 * waits for its next request, epoll first reports that it is writable: the second calm call takes that report, which
 * would wake another thread. */
static bool run_daemon(const struct px_drive *drive, const struct at_work *own)
{
    bool more = true;
    int calm = 0;
    for (int i = 0; i < CALLS_MAX && calm < 2 && !own->begun.schedule; i++) {
        MHD_run(drive->listener->daemon);
        more = has_more(drive);
        calm = more ? 0 : calm + 1;
    }
    return more;
}

/* Runs the job, and lets the daemon send its answer. */
static bool run_job(struct px_drive *drive, struct at_work *own, bool more)
{
    struct px_crew *crew = drive->listener->server->crew;
    const struct px_begun_job begun = own->begun;
    own->begun = (struct px_begun_job){0};
    own->running = begun.job;
    pthread_mutex_unlock(&drive->lock);
    px_crew_give_back(crew, more ? &drive->rest : &drive->daemon);
    px_schedule_run(&begun);
    own->running = NULL;
    own->answers_last = false;
    struct px_http_request *request = TAKE_PTR(own->resumes);
    if (request) {
        px_crew_keep(crew, &drive->daemon); /* this thread goes on with the connection, and no other need wake */
        px_http_request_resume(request);    /* its connection has kept it; it may be freed now */
    }
    pthread_mutex_lock(&drive->lock);
    return request && run_daemon(drive, own);
}

static void serve(struct px_drive *drive)
{
    struct at_work own = {.drive = drive};
    at_work = &own;
    pthread_mutex_lock(&drive->lock);
    bool more = run_daemon(drive, &own);
    while (own.begun.schedule)
        more = run_job(drive, &own, more);
    pthread_mutex_unlock(&drive->lock);
    at_work = NULL;
    px_crew_give_back(drive->listener->server->crew, more ? &drive->rest : &drive->daemon);
}

static void daemon_ready(struct px_crew_source *source)
{
    serve((struct px_drive *)((char *)source - offsetof(struct px_drive, daemon)));
}

static void rest_ready(struct px_crew_source *source)
{
    serve((struct px_drive *)((char *)source - offsetof(struct px_drive, rest)));
}

int px_drive_start(struct px_listener *listener, pyexec_error *error)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct px_drive *drive = calloc(1, sizeof *drive);
    if (!drive)
        return px_error_oom(error);
    listener->drive = drive;
    drive->listener = listener;
    pthread_mutex_init(&drive->lock, NULL);
    drive->daemon = (struct px_crew_source){info ? info->epoll_fd : -1, daemon_ready};
    drive->rest = (struct px_crew_source){eventfd(1, EFD_CLOEXEC), rest_ready};
    if (drive->rest.fd < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't serve on %s", listener->name);
    /* The first call of the daemon begins to listen. */
    return px_crew_add(listener->server->crew, &drive->daemon, false, error) < 0 ||
                   px_crew_add(listener->server->crew, &drive->rest, true, error) < 0
               ? -1
               : 0;
}

void px_drive_free(struct px_drive *drive)
{
    if (!drive)
        return;
    px_close_fd(&drive->rest.fd);
    pthread_mutex_destroy(&drive->lock);
    free(drive);
}

int px_drive_submit(struct px_schedule *schedule, struct px_job *job, pyexec_error *error)
{
    struct at_work *own = at_work;
    bool free_ = own && !own->running && !own->begun.schedule;
    if (free_ && px_crew_reserve(own->drive->listener->server->crew) == 0)
        return px_schedule_begin(schedule, job, &own->begun, error);
    return px_schedule_submit(schedule, job, error);
}

void px_drive_answers_last(const struct px_http_request *request)
{
    if (at_work && at_work->running == &request->job)
        at_work->answers_last = true;
}

void px_drive_tick(struct px_listener *listener, int64_t now)
{
    int64_t due = listener->due_ns;
    if (due && due <= now)
        px_drive_wake(listener);
}

void px_drive_wake(const struct px_listener *listener)
{
    px_crew_give_back(listener->server->crew, &listener->drive->rest);
}

bool px_drive_resumes(const struct px_http_request *request)
{
    if (!at_work || at_work->running != &request->job || !at_work->answers_last)
        return false;
    at_work->resumes = (struct px_http_request *)(uintptr_t)request;
    return true;
}
