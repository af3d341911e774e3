/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp/mcp_approval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "mcp/mcp.h"

#define PREFIX "approve-" /* before the id of the call: the id of the question */

struct px_mcp_question {
    struct px_mcp_question *next;
    pyexec_tool_call *held;
};

void px_mcp_approvals_init(struct px_mcp_approvals *approvals)
{
    *approvals = (struct px_mcp_approvals){0};
    pthread_mutex_init(&approvals->lock, NULL);
}

static void free_questions(struct px_mcp_question *first)
{
    for (struct px_mcp_question *question = first, *next; question; question = next) {
        next = question->next;
        pyexec_tool_call_free(question->held);
        free(question);
    }
}

void px_mcp_approvals_done(struct px_mcp_approvals *approvals)
{
    free_questions(approvals->first);
    pthread_mutex_destroy(&approvals->lock);
}

bool px_mcp_can_elicit(const json_t *params)
{
    const json_t *elicitation = json_object_get(json_object_get(params, "capabilities"), "elicitation");
    return json_is_object(elicitation) && (!json_object_size(elicitation) || json_object_get(elicitation, "form"));
}

/* ---- Questions ---- */

/* The character of two or three bytes at this place, which is U+0800 or above, or U+061C; else 0. */
static unsigned look_at(const unsigned char *at, const unsigned char *end)
{
    if (end - at >= 2 && at[0] == 0xd8 && at[1] == 0x9c)
        return 0x061c;
    if (end - at >= 3 && at[0] >= 0xe0 && at[0] <= 0xef)
        return (at[0] & 15u) << 12 | (at[1] & 63u) << 6 | (at[2] & 63u);
    return 0;
}

/* Characters of JSON text that can't be seen, or that change the order of others, become escapes: what the user reads must
 * be what is sent. These are U+061C, U+200B to U+200F, U+2028 to U+202E, U+2060 to U+206F and U+FEFF. */
static void add_visible(struct px_buffer *out, const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    while (at < end) {
        unsigned code = look_at(at, end);
        bool hidden = code == 0x061c || (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                      (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
        if (hidden) {
            px_buffer_printf(out, "\\u%04x", code);
            at += code < 0x800 ? 2 : 3;
        } else {
            px_buffer_add_byte(out, (char)*at++);
        }
    }
}

/* Returns the request as text, or NULL when there is no memory. */
static char *write_question(const pyexec_tool_call *held)
{
    char id[80];
    size_t length;
    const char *arguments = pyexec_tool_call_arguments(held, &length);
    px_auto_buffer struct px_buffer text = {0};
    snprintf(id, sizeof id, PREFIX "%s", pyexec_tool_call_id(held));
    px_buffer_printf(&text, "A script wants to call %s with these arguments:\n", pyexec_tool_call_name(held));
    add_visible(&text, arguments, length);
    px_buffer_add_string(&text, "\nAccept to allow this call, decline to refuse it.");
    return px_json_take_text(json_pack("{s:s, s:s, s:s, s:{s:s%, s:{s:s, s:{}}}}", "jsonrpc", "2.0", "id", id, "method",
                                       "elicitation/create", "params", "message", px_buffer_shown(&text),
                                       px_buffer_length(&text), "requestedSchema", "type", "object", "properties"));
}

/* Keeps the question, and drops those whose scripts no longer wait. False: there is no memory. */
static bool keep(struct px_mcp_approvals *approvals, pyexec_tool_call *held)
{
    struct px_mcp_question *question = calloc(1, sizeof *question), *gone = NULL;
    if (!question)
        return false;
    question->held = held;
    pthread_mutex_lock(&approvals->lock);
    for (struct px_mcp_question **at = &approvals->first, *one; (one = *at);) {
        if (pyexec_tool_call_waits(one->held)) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        one->next = gone;
        gone = one;
    }
    question->next = approvals->first;
    approvals->first = question;
    pthread_mutex_unlock(&approvals->lock);
    free_questions(gone);
    return true;
}

void px_mcp_approve(void *data, pyexec_tool_call *held)
{
    pyexec_error ignored;
    struct px_mcp_call *call = data;
    struct px_mcp_approvals *approvals = call->modern ? NULL : call->caller.approvals;
    px_auto_free char *question = approvals ? write_question(held) : NULL;
    if (!approvals)
        pyexec_tool_call_deny(held,
                              "it needs the user's approval, but this MCP client can't ask the user. Use a client "
                              "that supports elicitation with 'pyexec mcp', or change \"approval\" in the file of "
                              "MCP servers",
                              &ignored);
    else if (!question)
        pyexec_tool_call_fail(held, "the host has no memory to ask for approval", NULL, &ignored);
    else if (keep(approvals, held)) {
        call->caller.notify(call->caller.closure, question); /* the call may be freed by now */
        return;
    }
    pyexec_tool_call_free(held);
}

/* ---- Answers ---- */

static pyexec_tool_call *take_held(struct px_mcp_approvals *approvals, const char *id)
{
    pyexec_tool_call *held = NULL;
    pthread_mutex_lock(&approvals->lock);
    for (struct px_mcp_question **at = &approvals->first, *one; (one = *at) && !held; at = &one->next)
        if (strcmp(pyexec_tool_call_id(one->held), id) == 0) {
            held = one->held;
            *at = one->next;
            free(one);
            break;
        }
    pthread_mutex_unlock(&approvals->lock);
    return held;
}

bool px_mcp_approvals_take(struct px_mcp_approvals *approvals, const json_t *message)
{
    pyexec_error ignored;
    const char *id = json_string_value(json_object_get(message, "id"));
    const json_t *result = json_object_get(message, "result");
    if (!id || strncmp(id, PREFIX, strlen(PREFIX)) != 0 || json_object_get(message, "method"))
        return false;
    pyexec_tool_call *held = take_held(approvals, id + strlen(PREFIX));
    const char *action = json_string_value(json_object_get(result, "action"));
    if (held && action && strcmp(action, "accept") == 0)
        pyexec_tool_call_allow(held, &ignored);
    else if (held && action)
        pyexec_tool_call_deny(held, "the user did not allow it", &ignored);
    else if (held)
        pyexec_tool_call_deny(held, "the MCP client could not ask the user for approval", &ignored);
    pyexec_tool_call_free(held);
    return true;
}
