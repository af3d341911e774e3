/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls for targets that serve clients. A run calls each of its tools once, and waits until all calls are answered or the
 * request is stopped. */
#include <poll.h>
#include <pthread.h>

#include "base/json.h"
#include "base/retry.h"
#include "fuzz.h"
#include "policy/request.h"

struct pyexec_tool_call {
    char id[24];
    const char *name;
    bool waits;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t waiting, held; /* calls of all runs: those without an answer, and those that are not freed */

const char *pyexec_tool_call_id(const pyexec_tool_call *call)
{
    return call->id;
}

const char *pyexec_tool_call_name(const pyexec_tool_call *call)
{
    return call->name;
}

const char *pyexec_tool_call_arguments(const pyexec_tool_call *call, size_t *length)
{
    (void)call;
    *length = 7;
    return "{\"a\":1}";
}

const char *pyexec_tool_call_traceparent(const pyexec_tool_call *call)
{
    (void)call;
    return "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
}

const char *pyexec_tool_call_tracestate(const pyexec_tool_call *call)
{
    (void)call;
    return NULL;
}

int pyexec_tool_call_waits(pyexec_tool_call *call)
{
    pthread_mutex_lock(&lock);
    int waits = call->waits;
    pthread_mutex_unlock(&lock);
    return waits;
}

static int give(pyexec_tool_call *call, pyexec_error *error)
{
    pthread_mutex_lock(&lock);
    bool waited = call->waits;
    call->waits = false;
    waiting -= waited;
    pthread_mutex_unlock(&lock);
    return waited ? 0 : px_error_set(error, PYEXEC_CALL_NOT_FOUND, "gone");
}

int pyexec_tool_call_answer(pyexec_tool_call *call, const char *json, size_t length, pyexec_error *error)
{
    json_error_t problem;
    require(strlen(json) == length);
    json_t *value = px_json_read(json, length, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &problem);
    require(value || px_json_no_memory(&problem));
    json_decref(value);
    if (value && length < 100)
        return give(call, error);
    px_error_set(error, PYEXEC_INVALID_REQUEST, "too large");
    return px_error_hint(error, "Less.");
}

int pyexec_tool_call_fail(pyexec_tool_call *call, const char *message, const char *data, pyexec_error *error)
{
    (void)data;
    require(message);
    return give(call, error);
}

int pyexec_tool_call_deny(pyexec_tool_call *call, const char *reason, pyexec_error *error)
{
    require(reason);
    return give(call, error);
}

int pyexec_tool_call_allow(pyexec_tool_call *call, pyexec_error *error)
{
    return give(call, error);
}

void pyexec_tool_call_free(pyexec_tool_call *call)
{
    pyexec_error ignored;
    if (!call)
        return;
    give(call, &ignored);
    pthread_mutex_lock(&lock);
    held--;
    pthread_mutex_unlock(&lock);
    free(call);
}

static size_t read_locked(const size_t *count)
{
    pthread_mutex_lock(&lock);
    size_t now = *count;
    pthread_mutex_unlock(&lock);
    return now;
}

size_t fuzz_calls_held(void)
{
    return read_locked(&held);
}

pyexec_tool_call *fuzz_call_new(void)
{
    pyexec_tool_call *call = calloc(1, sizeof *call);
    require(call);
    *call = (pyexec_tool_call){.id = "c", .name = "t", .waits = true};
    pthread_mutex_lock(&lock);
    waiting++;
    held++;
    pthread_mutex_unlock(&lock);
    return call;
}

void fuzz_call_tools(pyexec_request *request)
{
    struct pollfd polled = {request->wake, POLLIN, 0};
    for (size_t i = 0; request->tools && i < request->tools->count; i++) {
        pyexec_tool_call *call = calloc(1, sizeof *call);
        require(call);
        *call = (pyexec_tool_call){.name = request->tools->items[i]->name, .waits = true};
        snprintf(call->id, sizeof call->id, "c-%zu", i);
        pthread_mutex_lock(&lock);
        waiting++;
        held++;
        pthread_mutex_unlock(&lock);
        request->tools->items[i]->callback(request->tools->items[i]->userdata, call);
    }
    while (read_locked(&waiting) && px_poll(&polled, 1, 1) == 0)
        ;
}
