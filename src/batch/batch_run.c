/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one task, in this program or at a server. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/retry.h"
#include "batch/batch_work.h"
#include "cli/handles.h"

#define PAUSE_MS 1000                                       /* before a task is sent again */
#define PAUSE_SHORT_MS 50                                   /* when all turns of this program are taken */
#define BATCH_LOOK_MS 250                                   /* how often a thread looks whether it should end */
#define SERVER_SILENCE_NS (30000 * PX_NS_PER_MS)            /* then the server is asked whether it is alive */
#define UNREACHABLE_NS (300 * 1000 * (int64_t)PX_NS_PER_MS) /* then the batch ends */

#define RESULT_LOST_HINT "See the log of the server. If it may run twice, run it again with --retry-lost."
#define MAY_HAVE_RUN_HINT "It may have run. If it may run twice, run it again with --retry-lost."
#define REFUSED_HINT "Correct the task, and run the same command again."
#define CANCELLED_MESSAGE "it was cancelled when the command was ended"

static void die(struct batch_end *ret, const char *reason, bool may_have_run, const char *code, const char *hint)
{
    ret->outcome = BATCH_NO_RESULT;
    ret->dead = (struct batch_dead){reason, may_have_run, code, ret->error.message, *hint ? hint : ret->error.hint};
}

static bool is_cancelling(struct batch_work *work)
{
    pthread_mutex_lock(&work->lock);
    bool cancelling = work->cancelling;
    pthread_mutex_unlock(&work->lock);
    return cancelling;
}

static void take_cancellation(struct batch_end *ret)
{
    px_error_set(&ret->error, PYEXEC_INTERNAL, CANCELLED_MESSAGE);
    die(ret, "cancelled", true, "cancelled", MAY_HAVE_RUN_HINT);
}

/* ---- Here ---- */

/* Tells the other threads which request this one has. */
static void set_request(struct batch_seat *seat, pyexec_request *request)
{
    pthread_mutex_lock(&seat->work->lock);
    seat->request = request;
    if (request && seat->work->cancelling)
        pyexec_request_cancel(request);
    pthread_mutex_unlock(&seat->work->lock);
}

static void take_failure(struct batch_end *ret, const pyexec_request *request)
{
    const char *code = pyexec_code_name(ret->error.code);
    bool sent = request && pyexec_request_was_sent(request);
    if (ret->error.code == PYEXEC_OVERLOADED) {
        ret->outcome = BATCH_AGAIN;
        ret->wait_ms = PAUSE_SHORT_MS;
    } else if (ret->error.code == PYEXEC_INVALID_POLICY || ret->error.code == PYEXEC_INVALID_REQUEST) {
        die(ret, "refused", false, code, *ret->error.hint ? "" : REFUSED_HINT);
    } else {
        die(ret, "failed", sent, code, *ret->error.hint ? "" : MAY_HAVE_RUN_HINT);
    }
}

void batch_run_here(struct batch_seat *seat, const struct batch_task *task, struct batch_end *ret)
{
    cli_auto_request pyexec_request *request = pyexec_request_new();
    cli_auto_result pyexec_result *result = NULL;
    if (!request) {
        px_error_exhausted(&ret->error, errno, "can't make the request");
        take_failure(ret, NULL);
        return;
    }
    pyexec_request_restrict(request, PYEXEC_NO_HOST_WORKSPACE);
    int status = pyexec_request_set_object(request, task->body, &ret->error);
    if (status == 0) {
        set_request(seat, request);
        status = pyexec_execute_once(seat->work->executor, request, &result, &ret->error);
        set_request(seat, NULL);
    }
    const char *text = status == 0 ? pyexec_result_json(result) : NULL;
    if (status == 0 && !text)
        px_error_oom(&ret->error);
    if (!text) {
        take_failure(ret, request);
    } else if (pyexec_result_status(result) == PYEXEC_STATUS_CANCELLED) {
        take_cancellation(ret);
    } else {
        ret->outcome = BATCH_RESULT;
        px_buffer_add_string(&ret->text, text);
    }
}

/* ---- At a server ---- */

/* The answer did not come, or not whole, or it is not of pyexec. */
static void lose(const struct batch_seat *seat, struct batch_end *ret)
{
    ret->outcome = BATCH_ASK_AGAIN;
    ret->wait_ms = PAUSE_MS;
    if (*seat->key)
        return;
    if (is_cancelling(seat->work))
        take_cancellation(ret); /* this program has closed the connection, so the server has cancelled it */
    else
        die(ret, "lost", true, "internal", RESULT_LOST_HINT);
}

/* It can't be reached, so nothing has started. */
static void miss(struct batch_work *work, struct batch_end *ret)
{
    int64_t now = px_now_ns();
    pthread_mutex_lock(&work->lock);
    if (!work->silent_ns)
        work->silent_ns = now;
    bool long_ago = now - work->silent_ns > UNREACHABLE_NS;
    pthread_mutex_unlock(&work->lock);
    ret->outcome = long_ago ? BATCH_FAILED : BATCH_AGAIN;
    ret->wait_ms = PAUSE_MS;
}

/* The server answers another request. */
static bool is_alive(const struct server *server)
{
    struct server_answer other = {.fd = -1};
    pyexec_error ignored;
    bool alive = server_ask(server, &other, "GET", "/healthz", "", 0, &ignored) == 0;
    server_close(&other);
    return alive;
}

/* Waits for the whole answer. Returns -1 with an error if it will not come. */
static int await_answer(struct batch_seat *seat, pyexec_error *error)
{
    struct server_answer *answer = &seat->answer;
    int64_t heard = px_now_ns();
    while (!answer->ended && !answer->lost) {
        struct pollfd polled = {.fd = answer->fd, .events = POLLIN};
        if (px_poll(&polled, 1, BATCH_LOOK_MS) > 0) {
            heard = px_now_ns();
            if (server_receive(answer, error) < 0)
                return -1;
        } else if (is_cancelling(seat->work)) {
            return px_error_set(error, PYEXEC_INTERNAL, CANCELLED_MESSAGE);
        } else if (px_now_ns() - heard > SERVER_SILENCE_NS) {
            if (!is_alive(seat->work->server))
                return px_error_set(error, PYEXEC_INTERNAL, "the server does not answer any more");
            heard = px_now_ns();
        }
    }
    return answer->ended ? 0 : px_error_set(error, PYEXEC_INTERNAL, "the connection to the server was lost");
}

/* A connection that the server has closed since its last answer is replaced. The server must answer a small request over the new one: a
 * server that has just died may still accept connections, and what is sent to it is lost. */
static int connect_again(struct batch_seat *seat, pyexec_error *error)
{
    struct server_answer *answer = &seat->answer;
    struct pollfd polled = {.fd = answer->fd, .events = POLLIN};
    if (answer->fd >= 0 && px_poll(&polled, 1, 0) == 0)
        return 0;
    server_close(answer);
    return server_ask(seat->work->server, answer, "GET", "/healthz", "", 0, error);
}

static int make_body(const struct batch_work *work, const struct batch_task *task, struct px_buffer *ret)
{
    px_auto_json json_t *body = px_json_copy(task->body);
    if (body && work->defaults && !json_object_get(body, "policy_defaults"))
        px_json_set(body, "policy_defaults", json_incref(work->defaults));
    px_auto_free char *text = body ? px_json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    px_buffer_add_string(ret, text);
    return text && px_buffer_ok(ret) ? 0 : -1;
}

static void take_foreign(const struct batch_seat *seat, struct batch_end *ret)
{
    px_error_set(&ret->error, PYEXEC_INTERNAL, "a proxy answered with status %d in place of pyexec",
                 seat->answer.status);
    int wait_ms = ret->wait_ms;
    lose(seat, ret);
    ret->wait_ms = wait_ms;
}

/* The server has refused the task, or failed. */
static void take_problem(const struct batch_seat *seat, struct batch_end *ret)
{
    const struct server_answer *answer = &seat->answer;
    json_error_t ignored;
    px_auto_json json_t *problem =
        px_json_read(px_buffer_shown(&answer->body), px_buffer_length(&answer->body), JSON_ALLOW_NUL, &ignored);
    const char *title = json_string_value(json_object_get(problem, "title"));
    const char *hint = json_string_value(json_object_get(problem, "hint"));
    const char *name = json_string_value(json_object_get(problem, "code"));
    int status = answer->status;
    bool started = name && strcmp(name, "already_started") == 0;
    px_error_set(&ret->error, PYEXEC_INTERNAL, "%s", title ? title : "the server did not say why");
    px_error_hint(&ret->error, "%s", hint ? hint : "");
    snprintf(ret->code, sizeof ret->code, "%s", name ? name : "unknown");
    ret->wait_ms = answer->retry_after_s > 0 ? answer->retry_after_s * 1000 : PAUSE_MS;
    if ((status == 429 || status == 503 || status == 408) && server_is_problem(problem, status))
        ret->outcome = BATCH_AGAIN;
    else if (status == 429 || status == 503 || status == 408)
        take_foreign(seat, ret);
    else if (status == 401)
        ret->outcome = BATCH_FAILED;
    else if (status == 409 && *seat->key && !started)
        ret->outcome = BATCH_ASK_AGAIN; /* it is in progress */
    else if (status == 502 && *seat->key)
        ret->outcome = BATCH_ASK_AGAIN;
    else if (status == 409 && started)
        die(ret, "lost", true, "already_started", RESULT_LOST_HINT);
    else if (status == 499)
        die(ret, "cancelled", true, "cancelled", RESULT_LOST_HINT);
    else if (status >= 500)
        die(ret, "failed", true, ret->code, *ret->error.hint ? "" : RESULT_LOST_HINT);
    else
        die(ret, "refused", false, ret->code, *ret->error.hint ? "" : REFUSED_HINT);
}

/* The result becomes a part of a line, so it must be JSON without a newline; the server adds one at its end. */
static void take_answer(struct batch_seat *seat, struct batch_end *ret)
{
    const struct server_answer *answer = &seat->answer;
    pthread_mutex_lock(&seat->work->lock);
    seat->work->silent_ns = 0;
    pthread_mutex_unlock(&seat->work->lock);
    if (answer->status != 200) {
        take_problem(seat, ret);
        return;
    }
    const char *text = px_buffer_shown(&answer->body);
    size_t length = px_buffer_length(&answer->body);
    while (length && strchr(" \t\r\n", text[length - 1]))
        length--;
    json_error_t ignored;
    px_auto_json json_t *result = px_json_read(text, length, JSON_ALLOW_NUL, &ignored);
    if (!json_is_object(result) || memchr(text, '\n', length)) {
        px_error_set(&ret->error, PYEXEC_INTERNAL, "the answer of the server is not a result");
        die(ret, "failed", true, "internal", "Is it a pyexec server?");
        return;
    }
    ret->outcome = BATCH_RESULT;
    px_buffer_add(&ret->text, text, length);
}

void batch_run_remote(struct batch_seat *seat, const struct batch_task *task, struct batch_end *ret)
{
    struct batch_work *work = seat->work;
    px_auto_buffer struct px_buffer body = {0}, headers = {0};
    if (*seat->key)
        px_buffer_printf(&headers, "Pyexec-Key: %s\r\nPyexec-Keep: answer\r\n", seat->key);
    if (make_body(work, task, &body) < 0 || !px_buffer_ok(&headers)) {
        px_error_oom(&ret->error);
        ret->outcome = BATCH_FAILED;
        return;
    }
    if (connect_again(seat, &ret->error) < 0) {
        miss(work, ret);
        return;
    }
    if (server_send(work->server, &seat->answer, "POST", "/v1/execute", px_buffer_shown(&headers), body.data,
                    body.length, &ret->error) == 0 &&
        await_answer(seat, &ret->error) == 0) {
        take_answer(seat, ret);
        return;
    }
    server_close(&seat->answer);
    seat->answer.fd = -1;
    lose(seat, ret);
}
