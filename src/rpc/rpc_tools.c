/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls. The server sends each call as a request to the client, with the call's own id, and the client answers it. If the
 * call needs approval, the request `tool_approval` is sent first; its id is APPROVAL and then the call's id.
 *
 * A call is in the lists from its callback until its answer or the end of its run. The callback sends the call itself, unless
 * another thread is already sending for this job: then that thread sends it. So a client that does not read blocks few threads.
 * Answers come from the client and are not trusted: their size is limited, and an unusable answer fails its call, so that no
 * script waits for ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "rpc/rpc_private.h"

#define APPROVAL "approve-"

#define COPIED_MAX 65536 /* bytes; longer arguments are not copied into the line, but sent as a separate part */

struct px_rpc_call {
    struct px_rpc_call *next;          /* next in the list of the job */
    struct px_rpc_call *next_in_chain; /* next in the list of calls with the same hash */
    struct px_rpc_job *job;
    pyexec_tool_call *call;
    char id[64]; /* the id of the request to the client */
    bool approval, sent;
    unsigned users; /* threads that are sending or answering it without the lock */
    bool unlisted;
};

/* ---- The lists; the caller holds the lock ---- */

static struct px_rpc_call **chain_of(struct px_rpc *rpc, const char *id, size_t length)
{
    unsigned hash = 5381;
    for (size_t i = 0; i < length; i++)
        hash = hash * 33 + (unsigned char)id[i];
    return &rpc->calls[hash % PX_RPC_CALL_CHAINS];
}

static struct px_rpc_call *find(struct px_rpc *rpc, const char *id, size_t length)
{
    struct px_rpc_call *call = *chain_of(rpc, id, length);
    while (call) {
        if (strlen(call->id) == length && memcmp(call->id, id, length) == 0)
            return call;
        call = call->next_in_chain;
    }
    return NULL;
}

static void enlist(struct px_rpc_job *job, struct px_rpc_call *call)
{
    struct px_rpc_call **chain = chain_of(job->rpc, call->id, strlen(call->id)), **at = &job->calls;
    call->next_in_chain = *chain;
    *chain = call;
    while (*at)
        at = &(*at)->next;
    *at = call;
}

static void unlist(struct px_rpc_call *call)
{
    struct px_rpc_call **at = chain_of(call->job->rpc, call->id, strlen(call->id));
    while (*at != call)
        at = &(*at)->next_in_chain;
    *at = call->next_in_chain;
    at = &call->job->calls;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    call->unlisted = true;
}

/* Frees a call that is neither in a list nor in use. */
static void release(struct px_rpc_call *call)
{
    if (!call->unlisted || call->users)
        return;
    pyexec_tool_call_free(call->call);
    free(call);
}

/* Frees calls whose scripts no longer wait, so that their arguments take no memory. */
static void drop_abandoned(struct px_rpc_job *job)
{
    for (struct px_rpc_call *call = job->calls, *next; call; call = next) {
        next = call->next;
        if (call->users || pyexec_tool_call_waits(call->call))
            continue;
        unlist(call);
        release(call);
    }
}

void px_rpc_end_calls(struct px_rpc_job *job)
{
    while (job->calls) {
        struct px_rpc_call *call = job->calls;
        unlist(call);
        release(call);
    }
}

/* ---- Calls ---- */

static void write_head(struct px_buffer *line, const struct px_rpc_job *job, const struct px_rpc_call *call)
{
    const char *quote = job->session_id ? "\"" : "";
    const char *traceparent = pyexec_tool_call_traceparent(call->call);
    const char *tracestate = pyexec_tool_call_tracestate(call->call);
    px_buffer_printf(line,
                     "{\"jsonrpc\":\"2.0\",\"id\":\"%s\",\"method\":\"%s\",\"params\":{\"request\":%s,"
                     "\"session_id\":%s%s%s,\"call_id\":\"%s\",\"name\":\"%s\",",
                     call->id, call->approval ? "tool_approval" : "tool_call", job->id ? job->id : "null", quote,
                     job->session_id ? job->session_id : "null", quote, pyexec_tool_call_id(call->call),
                     pyexec_tool_call_name(call->call));
    if (traceparent)
        px_buffer_printf(line, "\"traceparent\":\"%s\",", traceparent);
    if (traceparent && tracestate)
        px_buffer_printf(line, "\"tracestate\":\"%s\",", tracestate);
    px_buffer_add_string(line, "\"arguments\":");
}

/* Sends the call to the client. Returns false when there is no memory. */
static bool send_request(struct px_rpc_job *job, const struct px_rpc_call *call)
{
    static const char tail[] = "}}";
    size_t length;
    const char *arguments = pyexec_tool_call_arguments(call->call, &length);
    struct px_buffer px_auto_buffer line = {0};
    write_head(&line, job, call);
    if (length <= COPIED_MAX) {
        px_buffer_add(&line, arguments, length);
        px_buffer_add_string(&line, tail);
        px_rpc_send_line(job, &line);
        return px_buffer_ok(&line);
    }
    const char *head = px_buffer_string(&line);
    const struct iovec parts[] = {{(void *)(uintptr_t)head, line.length},
                                  {(void *)(uintptr_t)arguments, length},
                                  {(void *)(uintptr_t) "}}\n", 3}};
    if (head)
        px_rpc_send_parts(job, parts, PX_COUNT(parts));
    return head != NULL;
}

bool px_rpc_send_call(struct px_rpc_job *job)
{
    pyexec_error ignored;
    struct px_rpc_call *call = job->calls;
    while (call && (call->sent || !pyexec_tool_call_waits(call->call)))
        call = call->next;
    if (!call)
        return false;
    call->sent = true;
    call->users++;
    bool sent = send_request(job, call);
    call->users--;
    if (!sent)
        pyexec_tool_call_fail(call->call, "the host has no memory to send this call", NULL, &ignored);
    release(call);
    return true;
}

/* Fails a call that is not sent to the client, and frees it. */
static void refuse_call(pyexec_tool_call *call, const char *why)
{
    pyexec_error ignored;
    pyexec_tool_call_fail(call, why, NULL, &ignored);
    pyexec_tool_call_free(call);
}

static const char input_has_ended[] = "the client has ended its input, so no answer can come";

static void take_new_call(struct px_rpc_job *job, pyexec_tool_call *tool_call, bool approval)
{
    struct px_rpc *rpc = job->rpc;
    struct px_rpc_call *call = calloc(1, sizeof *call);
    if (rpc->lines.output_gone)
        pyexec_request_cancel(job->request);
    pthread_mutex_lock(&rpc->tasks.lock);
    if (!call || job->over || rpc->input_ended) {
        bool ended = rpc->input_ended;
        pthread_mutex_unlock(&rpc->tasks.lock);
        refuse_call(tool_call, ended ? input_has_ended : "the host has no memory for this call");
        free(call);
        return;
    }
    drop_abandoned(job);
    *call = (struct px_rpc_call){.job = job, .call = tool_call, .approval = approval};
    snprintf(call->id, sizeof call->id, "%s%s", approval ? APPROVAL : "", pyexec_tool_call_id(tool_call));
    enlist(job, call);
    while (!job->over && px_rpc_send_next(job))
        ;
    pthread_cond_signal(&rpc->held);
    pthread_mutex_unlock(&rpc->tasks.lock);
}

void px_rpc_on_tool_call(void *job, pyexec_tool_call *call)
{
    take_new_call(job, call, false);
}

void px_rpc_on_approval(void *job, pyexec_tool_call *call)
{
    take_new_call(job, call, true);
}

/* ---- Answers ---- */

/* Sends a notification that tells the client why its answer was not used. `id` is JSON. */
static void tell_refused(struct px_rpc *rpc, const char *id, size_t id_length, int code, const pyexec_error *error)
{
    struct px_buffer px_auto_buffer line = {0};
    px_auto_json json_t *object = json_pack("{s:i, s:s}", "code", code, "message", error->message);
    if (code == PX_RPC_PYEXEC_FAILED)
        px_json_set(object, "data",
                    json_pack("{s:s, s:s, s:s}", "code", pyexec_code_name(error->code), "message", error->message,
                              "hint", error->hint));
    px_auto_free char *text = px_json_dumps(object, JSON_COMPACT);
    px_buffer_add_string(&line, "{\"jsonrpc\":\"2.0\",\"method\":\"answer_refused\",\"params\":{\"call_id\":");
    px_buffer_add(&line, id, id_length);
    px_buffer_add_string(&line, ",\"error\":");
    px_buffer_add_string(&line, text);
    px_buffer_add_string(&line, "}}");
    px_line_transport_send(&rpc->lines, &line);
}

/* Removes the call with this id from the lists and returns it. Returns NULL when there is none. */
static struct px_rpc_call *take_call(struct px_rpc *rpc, const char *id, size_t length)
{
    pthread_mutex_lock(&rpc->tasks.lock);
    struct px_rpc_call *call = find(rpc, id, length);
    if (call) {
        unlist(call);
        call->users++;
    }
    pthread_mutex_unlock(&rpc->tasks.lock);
    return call;
}

static void finish(struct px_rpc *rpc, struct px_rpc_call *call)
{
    pthread_mutex_lock(&rpc->tasks.lock);
    call->users--;
    release(call);
    pthread_mutex_unlock(&rpc->tasks.lock);
}

static void fail_unusable(pyexec_tool_call *call, const char *why)
{
    struct px_buffer px_auto_buffer text = {0};
    pyexec_error ignored;
    px_buffer_printf(&text, "the caller's answer can't be used: %s", why);
    pyexec_tool_call_fail(call, px_buffer_shown(&text), NULL, &ignored);
}

static int refuse_form(const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s", what);
    return px_error_hint(error,
                         "Answer {\"jsonrpc\": \"2.0\", \"id\": the id of the call, \"result\": any JSON}, or in "
                         "place of result send \"error\": {\"code\": a number, \"message\": text, \"data\": any "
                         "JSON}. Code %d refuses the call; any other code makes it fail.",
                         PX_RPC_DENIED);
}

static int give_error(pyexec_tool_call *call, const json_t *given, pyexec_error *error)
{
    const json_t *code = json_object_get(given, "code"), *message = json_object_get(given, "message");
    const json_t *data = json_object_get(given, "data");
    if (!json_is_integer(code) || !json_is_string(message))
        return refuse_form("the code of its error must be an integer, and the message must be a text", error);
    struct px_buffer px_auto_buffer text = {0};
    px_buffer_add(&text, json_string_value(message), json_string_length(message));
    /* The library takes C strings, so NUL characters become spaces. */
    for (char *nul; px_buffer_ok(&text) && text.length && (nul = memchr(text.data, '\0', text.length));)
        *nul = ' ';
    px_auto_free char *data_text =
        data ? px_json_dumps(data, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (!px_buffer_ok(&text) || (data && !data_text))
        return px_error_oom(error);
    return json_integer_value(code) == PX_RPC_DENIED
               ? pyexec_tool_call_deny(call, px_buffer_string(&text), error)
               : pyexec_tool_call_fail(call, px_buffer_string(&text), data_text, error);
}

static int give_decision(pyexec_tool_call *call, const json_t *decision, pyexec_error *error)
{
    const json_t *deny = json_object_get(decision, "deny");
    bool one = json_object_size(decision) == 1;
    if (one && json_is_true(json_object_get(decision, "allow")))
        return pyexec_tool_call_allow(call, error);
    if (one && json_is_string(deny) && strlen(json_string_value(deny)) == json_string_length(deny))
        return pyexec_tool_call_deny(call, json_string_value(deny), error);
    px_error_set(error, PYEXEC_INVALID_REQUEST,
                 "the result of tool_approval must be {\"allow\": true} or "
                 "{\"deny\": the reason}");
    return px_error_hint(error, "Answer each tool_approval with one of these two results.");
}

static int give_answer(const struct px_rpc_call *waiting, const json_t *message, pyexec_error *error)
{
    pyexec_tool_call *call = waiting->call;
    const json_t *result = json_object_get(message, "result"), *failure = json_object_get(message, "error");
    const char *version = json_string_value(json_object_get(message, "jsonrpc"));
    if (!version || strcmp(version, "2.0") != 0)
        return refuse_form("it is not JSON-RPC 2.0", error);
    if (!result == !failure)
        return refuse_form("it must have either a result or an error", error);
    if (failure)
        return give_error(call, failure, error);
    if (waiting->approval)
        return give_decision(call, result, error);
    px_auto_free char *text = px_json_dumps(result, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    return text ? pyexec_tool_call_answer(call, text, strlen(text), error) : px_error_oom(error);
}

static int no_such_call(pyexec_error *error)
{
    px_error_set(error, PYEXEC_CALL_NOT_FOUND, "no such tool call waits for an answer");
    return px_error_hint(error, "The call was already answered, or its script no longer waits for it: "
                                "tool_timeout_ms has passed, or the script has ended.");
}

bool px_rpc_take_answer(struct px_rpc *rpc, const json_t *message, const char *id)
{
    const json_t *given = json_object_get(message, "id");
    bool is_answer = json_object_get(message, "result") || json_object_get(message, "error");
    struct px_rpc_call *call =
        json_is_string(given) ? take_call(rpc, json_string_value(given), json_string_length(given)) : NULL;
    pyexec_error error;
    if (!call && (!is_answer || !id))
        return false;
    int status = call ? give_answer(call, message, &error) : no_such_call(&error);
    if (call && status < 0)
        fail_unusable(call->call, error.message);
    if (call)
        finish(rpc, call);
    if (status < 0)
        tell_refused(rpc, id, strlen(id), PX_RPC_PYEXEC_FAILED, &error);
    return true;
}

bool px_rpc_take_bad_answer(struct px_rpc *rpc, const char *id, size_t id_length, int code, const pyexec_error *error)
{
    struct px_rpc_call *call = id_length > 2 && *id == '"' ? take_call(rpc, id + 1, id_length - 2) : NULL;
    if (!call)
        return false;
    fail_unusable(call->call, error->message);
    finish(rpc, call);
    tell_refused(rpc, id, id_length, code, error);
    return true;
}

void px_rpc_end_answers(struct px_rpc *rpc)
{
    pyexec_error ignored;
    pthread_mutex_lock(&rpc->tasks.lock);
    rpc->input_ended = true;
    for (size_t i = 0; i < PX_RPC_CALL_CHAINS; i++)
        while (rpc->calls[i]) {
            struct px_rpc_call *call = rpc->calls[i];
            unlist(call);
            pyexec_tool_call_fail(call->call, input_has_ended, NULL, &ignored);
            release(call);
        }
    pthread_mutex_unlock(&rpc->tasks.lock);
}
