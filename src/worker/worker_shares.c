/* SPDX-License-Identifier: Apache-2.0 */
/* What the requests of each principal take of what this node has. One principal may have at most twice what it leaves free, as in
 * serve/body.c: one that is alone can use two thirds, and some always remains for others. */
#include <stdlib.h>
#include <string.h>

#include "worker/worker.h"

struct px_share {
    struct px_share *next;
    size_t users; /* requests that point to it */
    size_t taken[PX_GOODS_COUNT];
    char principal[];
};

static const size_t goods_most[PX_GOODS_COUNT] = {
    [PX_GOODS_REQUESTS] = PX_NODE_REQUESTS_MAX,
    [PX_GOODS_BODIES] = PX_NODE_BODIES_MAX,
    [PX_GOODS_ANSWERS] = PX_NODE_ANSWERS_MAX,
};

/* Returns the share of the request's principal; NULL: no memory. This program's own requests may have none, and share one. */
static struct px_share *share_of(struct px_node_request *request)
{
    struct px_worker *worker = request->worker;
    const char *principal = request->principal ? request->principal : "";
    struct px_share *share = request->share ? request->share : worker->shares;
    while (share && strcmp(share->principal, principal) != 0)
        share = share->next;
    if (!share && (share = calloc(1, sizeof *share + strlen(principal) + 1))) {
        strcpy(share->principal, principal);
        share->next = worker->shares;
        worker->shares = share;
    }
    if (share && !request->share)
        share->users++;
    return request->share = share;
}

int px_share_take(struct px_node_request *request, enum px_goods goods, size_t amount)
{
    struct px_worker *worker = request->worker;
    struct px_share *share = share_of(request);
    size_t most = goods_most[goods], all = worker->taken[goods] + amount;
    if (!share || all > most)
        return 503;
    if (share->taken[goods] + amount > 2 * (most - all))
        return 429;
    worker->taken[goods] = all;
    share->taken[goods] += amount;
    request->taken[goods] += amount;
    return 0;
}

void px_share_leave(struct px_node_request *request)
{
    struct px_worker *worker = request->worker;
    struct px_share *share = request->share, **at = &worker->shares;
    if (!share)
        return;
    for (size_t i = 0; i < PX_GOODS_COUNT; i++) {
        worker->taken[i] -= request->taken[i];
        share->taken[i] -= request->taken[i];
    }
    request->share = NULL;
    if (--share->users)
        return;
    while (*at != share)
        at = &(*at)->next;
    *at = share->next;
    free(share);
}
