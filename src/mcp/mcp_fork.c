/* SPDX-License-Identifier: Apache-2.0 */
/* Tools for sessions that can be forked, or that keep checkpoints. */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fork_ids.h"
#include "base/json.h"
#include "mcp/mcp_private.h"

bool px_mcp_offers_fork(const struct px_policy *policy)
{
    return policy->forkable;
}

bool px_mcp_offers_undo(const struct px_policy *policy)
{
    return policy->auto_checkpoint || policy->forkable;
}

static void answer_forked(struct px_mcp_call *call, const json_t *forked)
{
    px_auto_buffer struct px_buffer note = {0};
    px_auto_free char *text = px_json_dumps(forked, JSON_COMPACT);
    const json_t *ids = json_object_get(forked, "sessions"), *id;
    size_t i;
    px_buffer_add_string(&note, "New sessions that go on from the state of this one: ");
    json_array_foreach(ids, i, id)
        px_buffer_printf(&note, "%s%s", i ? ", " : "", json_string_value(id));
    px_buffer_add_string(&note, ". Give one of them to run_python as session_id.");
    px_mcp_answer_note(call, text, px_buffer_ok(&note) ? px_buffer_string(&note) : NULL);
}

void px_mcp_fork_session(struct px_mcp_call *call, json_t *arguments)
{
    pyexec_error error;
    px_auto_free char *key = px_mcp_session_key(call, arguments);
    px_auto_json json_t *forked = NULL;
    px_auto(px_fork_ids_done) struct px_fork_ids ids = {0};
    int status = key ? px_fork_ids_read(arguments, &ids, &error) : px_error_oom(&error);
    if (status == 0)
        status = pyexec_session_fork_object(px_mcp_executor(call), call->caller.turn, key, ids.ids, ids.count, &forked,
                                            &error);
    if (status < 0)
        px_mcp_fail(call, &error);
    else
        answer_forked(call, forked);
}

/* The numbers are told as the library wrote them. */
void px_mcp_undo(struct px_mcp_call *call, json_t *arguments)
{
    pyexec_error error;
    px_auto_free char *key = px_mcp_session_key(call, arguments);
    px_auto_free char *text = NULL;
    px_auto_buffer struct px_buffer note = {0};
    json_t *to = json_object_get(arguments, "to");
    int status = key ? 0 : px_error_oom(&error);
    if (status == 0 && to && json_integer_value(to) < 1) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "to: not a number from 1 on");
        status = px_error_hint(&error, "Send the execution_count of a call, or leave it out.");
    }
    if (status == 0)
        status = pyexec_session_undo(px_mcp_executor(call), key, (uint64_t)json_integer_value(to), &text, &error);
    if (status < 0) {
        px_mcp_fail(call, &error);
        return;
    }
    px_buffer_printf(&note, "The session is as it was before the call `to`: %s", text);
    px_mcp_answer_note(call, text, px_buffer_ok(&note) ? px_buffer_string(&note) : NULL);
}
