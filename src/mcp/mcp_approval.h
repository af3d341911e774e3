/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls that need approval: the user of the MCP client is asked by elicitation. */
#ifndef PX_MCP_MCP_APPROVAL_H
#define PX_MCP_MCP_APPROVAL_H

#include <pthread.h>
#include <stdbool.h>

#include "base/json.h"
#include "pyexec.h"

struct px_mcp_question;

/* The questions that one client has not answered. */
struct px_mcp_approvals {
    pthread_mutex_t lock;
    struct px_mcp_question *first;
};

void px_mcp_approvals_init(struct px_mcp_approvals *approvals);
/* Call it when no run is left. */
void px_mcp_approvals_done(struct px_mcp_approvals *approvals);

/* True if the params of initialize say that the client shows forms to its user. */
bool px_mcp_can_elicit(const json_t *params);

/* The approver of a struct px_mcp_call (pyexec_request_set_approver()): asks, or denies the call when the client can't be
 * asked. */
void px_mcp_approve(void *call, pyexec_tool_call *held);

/* Takes a message of the client if it answers a question; false: it is something else. */
bool px_mcp_approvals_take(struct px_mcp_approvals *approvals, const json_t *message);

#endif
