/* SPDX-License-Identifier: Apache-2.0 */
/* The runs of `pyexec mcp` that continue after their answer, and their results. Each runs as a task on its own thread. Results
 * are kept for [host] execution_ttl, at most max_executions, and 128 MiB of them: the oldest that has ended makes room.
 * They end with the client. Lock order: the tasks' lock, then this one. */
#ifndef PX_MCP_MCP_KEPT_H
#define PX_MCP_MCP_KEPT_H

#include <pthread.h>

#include "jsonrpc/tasks.h"
#include "mcp/mcp.h"

struct px_mcp_kept_run;

struct px_mcp_kept {
    struct px_tasks *tasks;
    struct px_mcp_executions executions; /* without its functions, which need the transport */
    size_t most;
    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t changed;
    struct px_mcp_kept_run *first; /* the newest is first */
    bool stopping;
};

/* `host`: the limits; NULL: the defaults. */
void px_mcp_kept_init(struct px_mcp_kept *kept, struct px_tasks *tasks, const struct px_host *host);
/* The client has gone: nobody waits any more. Call this before px_tasks_stop(). */
void px_mcp_kept_stop(struct px_mcp_kept *kept);
/* Call this when no task is in progress. */
void px_mcp_kept_done(struct px_mcp_kept *kept);

/* The functions of struct px_mcp_executions. */
int px_mcp_kept_start(struct px_mcp_kept *kept, struct px_mcp_call *call, const char *key,
                      char ret_id[PX_MCP_EXECUTION_ID], pyexec_error *error);
bool px_mcp_kept_show(struct px_mcp_kept *kept, struct px_mcp_call *call, const char *id, px_mcp_show_fn *show);
bool px_mcp_kept_cancel(struct px_mcp_kept *kept, const char *id);

/* Waits for the end of the run, for at most `wait_ms` (-1: without a limit). Returns at once if there is no such run. */
void px_mcp_kept_wait(struct px_mcp_kept *kept, const char *id, int64_t wait_ms);

#endif
