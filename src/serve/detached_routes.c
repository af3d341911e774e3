/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/executions: the state and the results of detached executions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json_text.h"
#include "serve/calls.h"
#include "serve/detached_private.h"
#include "serve/sse.h"

#define ARGUMENTS_LISTED_MAX (32u << 20) /* bytes of arguments in a list; the arguments of further calls are left out */

const char *const px_detached_state_names[PX_DETACHED_STATES] = {"waiting", "running", "ended"};

void px_detached_write(struct px_detached *detached, struct px_buffer *out, bool whole)
{
    struct px_detached_table *table = detached->table;
    pthread_mutex_lock(&table->lock);
    enum px_detached_state state = detached->state;
    time_t times[3] = {detached->created, detached->started, detached->ended};
    pthread_mutex_unlock(&table->lock);
    bool ended = state == PX_DETACHED_ENDED;
    px_mcp_execution_write(out, detached->id, detached->carrier.session, px_detached_state_names[state], times);
    px_buffer_add_string(out, ",\"calls\":[");
    px_calls_write(table->server->calls, detached->execution, out, whole || out->length < ARGUMENTS_LISTED_MAX);
    px_buffer_add_byte(out, ']');
    if (whole) {
        px_buffer_add_string(out, ",\"result\":");
        px_buffer_add_string(out, ended && detached->result ? detached->result : "null");
        px_buffer_add_string(out, ",\"error\":");
        px_buffer_add_string(out, ended && detached->problem ? detached->problem : "null");
    }
    px_buffer_add_byte(out, '}');
}

static struct px_detached *find(struct px_http_request *request)
{
    struct px_detached *found = px_detached_find(request->server->detached, request->principal, request->named);
    if (!found)
        px_respond_problem(request, MHD_HTTP_NOT_FOUND, "execution_not_found", "there is no such execution",
                           "It ended too long ago, it was lost when the server restarted, or it belongs to another "
                           "caller.");
    return found;
}

/* Reads a number from the query or a header. Returns false when the text is not a number. */
static bool read_number(const char *text, uint64_t most, uint64_t *ret)
{
    size_t length = text ? strspn(text, "0123456789") : 0;
    *ret = length && length < 19 ? strtoull(text, NULL, 10) : 0;
    return !text || (length && length < 19 && !text[length] && *ret <= most);
}

static void refuse(struct px_http_request *request, const char *what, const char *hint)
{
    pyexec_error error;
    px_error_set(&error, PYEXEC_INVALID_REQUEST, "%s", what);
    px_error_hint(&error, "%s", hint);
    px_respond_error(request, &error);
}

void px_detached_route_show(struct px_http_request *request)
{
    uint64_t after, wait_ms;
    bool streams = px_sse_wanted(request);
    if (!read_number(px_http_request_header(request, "Last-Event-ID"), UINT64_MAX, &after)) {
        refuse(request, "Last-Event-ID: not a number", "Send the id of the last event that you have, or leave it out.");
        return;
    }
    const char *wait = MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "wait_ms");
    if (!read_number(wait, PX_EXECUTION_WAIT_MAX_MS, &wait_ms)) {
        refuse(request, "wait_ms: not a number from 0 to 300000", "If the answer says that it still runs, ask again.");
        return;
    }
    struct px_detached *detached = find(request);
    if (detached && streams)
        px_detached_stream(detached, request, after);
    else if (detached)
        px_detached_await(detached, request, (int64_t)wait_ms, NULL);
}

void px_detached_route_cancel(struct px_http_request *request)
{
    struct px_detached *detached = find(request);
    if (!detached)
        return;
    px_detached_cancel(detached);
    px_detached_release(detached);
    px_respond_empty(request, MHD_HTTP_NO_CONTENT);
}

void px_detached_route_list(struct px_http_request *request)
{
    struct px_detached_table *table = request->server->detached;
    struct px_buffer text = {0};
    size_t count = 0, most = 0;
    pthread_mutex_lock(&table->lock);
    for (struct px_detached *at = table->list; at; at = at->next)
        most += at->carrier.principal == request->principal;
    struct px_detached **found = calloc(most + 1, sizeof(struct px_detached *));
    for (struct px_detached *at = table->list; found && at; at = at->next)
        if (at->carrier.principal == request->principal) {
            at->references++;
            found[count++] = at;
        }
    pthread_mutex_unlock(&table->lock);
    px_buffer_add_string(&text, "{\"executions\":[");
    for (size_t i = 0; i < count; i++) {
        px_buffer_add_string(&text, i ? "," : "");
        px_detached_write(found[i], &text, false);
        px_detached_release(found[i]);
    }
    px_buffer_add_string(&text, "],\"attached\":[");
    px_calls_write_attached(request->server->calls, request->principal, &text, ARGUMENTS_LISTED_MAX);
    px_buffer_add_string(&text, "]}");
    text.failed |= !found;
    free(found);
    px_respond_json(request, MHD_HTTP_OK, px_buffer_take(&text));
    px_buffer_done(&text);
}
