/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of the listeners. libmicrohttpd has no thread of its own here: the threads of one crew (base/crew.h) call it.
 *
 *   a thread waits → a request arrives → the thread lets libmicrohttpd read it → a turn is free: it lets another thread wait
 *   for the other connections, and runs the request → it lets libmicrohttpd send the answer → it waits again
 *
 * So at rest one thread does everything, and a long run holds up nobody. When a request must wait for its turn, a worker
 * of the schedule runs it later, and sends its answer by waking a thread of the listener. */
#ifndef PX_SERVE_DRIVE_H
#define PX_SERVE_DRIVE_H

#include <stdbool.h>

#include "serve/http.h"

struct px_drive;

/* Begins to serve the listener, whose daemon has been started. */
int px_drive_start(struct px_listener *listener, pyexec_error *error);

/* Frees what px_drive_start() has made. The threads of the crew must have ended. */
void px_drive_free(struct px_drive *drive);

/* Submits a job as px_schedule_submit() does. If a thread of the listener calls this and the job can begin at once, that
 * thread runs it as soon as libmicrohttpd has returned. */
int px_drive_submit(struct px_schedule *schedule, struct px_job *job, pyexec_error *error);

/* The request's `serve` function says that it sends its answer last, and then returns. If the request runs on the thread
 * that read it, this thread then sends the answer too. */
void px_drive_answers_last(const struct px_http_request *request);

/* A connection of the listener was resumed: a thread of the listener calls libmicrohttpd. */
void px_drive_wake(const struct px_listener *listener);

/* Called now and then while there are connections: wakes a thread if libmicrohttpd must look at silent ones. */
void px_drive_tick(struct px_listener *listener, int64_t now);

/* True if the thread will resume the connection of the request itself. */
bool px_drive_resumes(const struct px_http_request *request);

#endif
