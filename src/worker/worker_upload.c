/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies that are larger than one message. The client numbers the parts, and this program acknowledges each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "worker/worker.h"

void px_node_upload_begin(struct px_node_request *request)
{
    char subject[200];
    request->stage = PX_NODE_BODY;
    request->next_part = 1;
    snprintf(subject, sizeof subject, "pyexec.v1.node.%s.r.%s.part", request->worker->node, request->id);
    px_answer_event(request, "continue", NULL, subject, NULL, 0);
}

static void acknowledge(struct px_node_request *request, natsMsg *message, unsigned long part)
{
    char number[24];
    const char *reply = natsMsg_GetReply(message);
    snprintf(number, sizeof number, "%lu", part);
    const struct px_header headers[] = {{"Pyexec-Part", number}};
    if (reply && *reply)
        px_link_say(request->worker, reply, NULL, headers, 1, NULL, 0);
}

void px_node_upload_take(struct px_node_request *request, natsMsg *message)
{
    const char *number = px_link_header(message, "Pyexec-Part");
    unsigned long part = number ? strtoul(number, NULL, 10) : 0;
    size_t length = (size_t)natsMsg_GetDataLength(message);
    if (request->ended || part > request->next_part || !part) /* one before it is missing: the client repeats both */
        return;
    if (part == request->next_part && request->stage == PX_NODE_BODY) {
        bool last = part + 1 == request->parts;
        if (request->body.length + length > request->total ||
            (last && request->body.length + length < request->total)) {
            px_answer_problem(request, 400, "invalid_request", "Pyexec-Bytes is the length of the whole body.",
                              "the parts are not as long as Pyexec-Bytes says");
            return;
        }
        px_buffer_add(&request->body, natsMsg_GetData(message), length);
        last |= !px_buffer_ok(&request->body); /* no memory for it: px_node_begin() refuses the request */
        request->next_part++;
        request->heard_ns = px_now_ns();
        acknowledge(request, message, part);
        if (last)
            px_node_begin(request);
        return;
    }
    acknowledge(request, message, part);
}
