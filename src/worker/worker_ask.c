/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of this program to others over NATS: JetStream, and other nodes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/trace_context.h"
#include "worker/worker.h"

struct px_ask {
    struct px_ask *next;
    char token[PX_NODE_ID_SIZE];
    int64_t end_ns;
    px_ask_fn *fn;
    void *closure;
};

void px_ask_send(struct px_worker *worker, const char *subject, const struct px_header *headers, size_t count,
                 const void *bytes, size_t length, px_ask_fn *fn, void *closure)
{
    char reply[120];
    struct px_ask *ask = calloc(1, sizeof *ask);
    if (!ask || px_trace_make_id(ask->token, PX_NODE_ID_SIZE - 1) < 0) {
        free(ask);
        fn(worker, closure, NULL);
        return;
    }
    ask->fn = fn;
    ask->closure = closure;
    ask->end_ns = px_now_ns() + PX_ASK_MS * PX_NS_PER_MS;
    ask->next = worker->asks;
    worker->asks = ask;
    snprintf(reply, sizeof reply, "_INBOX.%s.%s", worker->boot, ask->token);
    px_link_say(worker, subject, reply, headers, count, bytes, length);
}

static void end(struct px_worker *worker, struct px_ask **at, natsMsg *message)
{
    struct px_ask *ask = *at;
    *at = ask->next;
    ask->fn(worker, ask->closure, message);
    free(ask);
}

bool px_ask_take(struct px_worker *worker, natsMsg *message)
{
    const char *subject = natsMsg_GetSubject(message), *token = strrchr(subject, '.');
    for (struct px_ask **at = &worker->asks; token && *at; at = &(*at)->next)
        if (strcmp((*at)->token, token + 1) == 0) {
            end(worker, at, message);
            return true;
        }
    return false;
}

/* A callback may send new requests, which are put at the beginning. */
void px_ask_tick(struct px_worker *worker, int64_t now_ns)
{
    for (struct px_ask **at = &worker->asks; *at;) {
        if (now_ns < (*at)->end_ns) {
            at = &(*at)->next;
            continue;
        }
        end(worker, at, NULL);
        at = &worker->asks;
    }
}

void px_ask_free(struct px_worker *worker)
{
    while (worker->asks) {
        struct px_ask *ask = worker->asks;
        worker->asks = ask->next;
        free(ask);
    }
}
