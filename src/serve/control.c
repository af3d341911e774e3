/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/control.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/retry.h"
#include "serve/server.h"
#include "serve/sse.h"

#define CONTROL_BUCKETS 1024u
#define INPUT_MAX 65536u /* bytes of one request */

struct px_control {
    struct px_control *next;
    struct px_controls *controls;
    const struct px_principal *principal;
    char *id; /* random, so that it can't be guessed and spreads over the buckets */
    pyexec_request *run;
    int input;  /* our end of the script's standard input; -1: there is none, or it has ended */
    int script; /* the end that the run reads */
};

struct px_controls {
    pthread_mutex_t lock;
    struct px_control *buckets[CONTROL_BUCKETS];
};

struct px_controls *px_controls_new(void)
{
    struct px_controls *controls = calloc(1, sizeof *controls);
    if (controls)
        pthread_mutex_init(&controls->lock, NULL);
    return controls;
}

void px_controls_free(struct px_controls *controls)
{
    if (controls)
        pthread_mutex_destroy(&controls->lock);
    free(controls);
}

static struct px_control **bucket_of(struct px_controls *controls, const char *id)
{
    return &controls->buckets[px_hash(id, strlen(id)) % CONTROL_BUCKETS];
}

static void free_control(struct px_control *control)
{
    px_close_fd(&control->input);
    px_close_fd(&control->script);
    free(control->id);
    free(control);
}

/* ---- The run ---- */

static int make(struct px_http_request *request, pyexec_request *run, bool input, struct px_control **ret,
                pyexec_error *error)
{
    int pair[2] = {-1, -1};
    struct px_control *control = calloc(1, sizeof *control);
    if (!control)
        return px_error_oom(error);
    *control = (struct px_control){.controls = request->server->controls,
                                   .principal = request->principal,
                                   .id = px_random_name("r-"),
                                   .run = run,
                                   .input = -1,
                                   .script = -1};
    int failed = control->id ? 0 : ENOMEM;
    if (!failed && input && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        failed = errno;
    control->input = pair[0];
    control->script = pair[1];
    if (failed || (input && pyexec_request_set_stdin_fd(run, control->script) < 0)) {
        free_control(control);
        return px_error_exhausted(error, failed ? failed : ENOMEM, "can't make the run's standard input");
    }
    *ret = control;
    return 0;
}

int px_control_take(struct px_http_request *request, json_t *body, pyexec_request *run, struct px_control **ret,
                    pyexec_error *error)
{
    px_auto_json json_t *wanted = json_incref(json_object_get(body, "control"));
    json_object_del(body, "control");
    if (wanted && !json_is_boolean(wanted)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "control: must be true or false");
        return px_error_hint(error,
                             "With true, the first event has a run_id to interrupt the run and to send its input.");
    }
    if (!json_is_true(wanted))
        return 0;
    if (!px_sse_wanted(request) || json_is_true(json_object_get(body, "detach"))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST,
                     "control: the run_id is an event, but this request accepts no events");
        return px_error_hint(error, "Send \"Accept: text/event-stream\", and not \"detach\".");
    }
    if (make(request, run, !json_object_get(body, "stdin"), ret, error) < 0)
        return -1;
    struct px_control *control = *ret;
    struct px_control **bucket = bucket_of(control->controls, control->id);
    pthread_mutex_lock(&control->controls->lock);
    control->next = *bucket;
    *bucket = control;
    pthread_mutex_unlock(&control->controls->lock);
    return 0;
}

void px_control_say(struct px_control *control, struct px_http_request *request)
{
    px_auto_buffer struct px_buffer event = {0};
    px_buffer_printf(&event, "{\"run_id\":\"%s\"}", control->id);
    px_sse_send(request, "control", px_buffer_string(&event));
}

void px_control_end(struct px_control *control)
{
    if (!control)
        return;
    struct px_controls *controls = control->controls;
    pthread_mutex_lock(&controls->lock);
    struct px_control **slot = bucket_of(controls, control->id);
    while (*slot != control)
        slot = &(*slot)->next;
    *slot = control->next;
    pthread_mutex_unlock(&controls->lock);
    free_control(control);
}

/* ---- Routes ---- */

/* Returns the run with the lock held. NULL: there is none, the lock is not held, and the request is answered. */
static struct px_control *find(struct px_http_request *request)
{
    struct px_controls *controls = request->server->controls;
    pthread_mutex_lock(&controls->lock);
    struct px_control *control = *bucket_of(controls, request->named);
    while (control && (control->principal != request->principal || strcmp(control->id, request->named) != 0))
        control = control->next;
    if (control)
        return control;
    pthread_mutex_unlock(&controls->lock);
    px_respond_problem(request, MHD_HTTP_NOT_FOUND, "execution_not_found", "there is no such run",
                       "It has ended, or it belongs to another caller.");
    return NULL;
}

static void act(struct px_http_request *request, void (*stop)(pyexec_request *run))
{
    struct px_control *control = find(request);
    if (!control)
        return;
    stop(control->run);
    pthread_mutex_unlock(&control->controls->lock);
    px_respond_empty(request, MHD_HTTP_NO_CONTENT);
}

void px_control_route_interrupt(struct px_http_request *request)
{
    act(request, pyexec_request_interrupt);
}

void px_control_route_cancel(struct px_http_request *request)
{
    act(request, pyexec_request_cancel);
}

/* An empty body ends the input. Returns how many bytes were taken; -1: there is no input (any more). */
static ssize_t take_input(struct px_control *control, const struct px_buffer *body)
{
    if (control->input < 0)
        return -1;
    if (!body->length) {
        px_close_fd(&control->input);
        return 0;
    }
    ssize_t n = px_send(control->input, body->data, body->length, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 && errno == EAGAIN ? 0 : n;
}

void px_control_route_input(struct px_http_request *request)
{
    if (request->body.length > INPUT_MAX) {
        px_respond_problem(request, MHD_HTTP_CONTENT_TOO_LARGE, "invalid_request", "more than 64 KiB of input at once",
                           "Send the input in parts. The answer says how many bytes of a part were taken.");
        return;
    }
    struct px_control *control = find(request);
    if (!control)
        return;
    ssize_t taken = take_input(control, &request->body);
    pthread_mutex_unlock(&control->controls->lock);
    if (taken < 0) {
        px_respond_problem(request, MHD_HTTP_CONFLICT, "conflict", "this run takes no more input",
                           "Its input has ended, or its request had `stdin`.");
        return;
    }
    char *text;
    px_respond_json(request, MHD_HTTP_OK, asprintf(&text, "{\"taken\":%zd}", taken) < 0 ? NULL : text);
}
