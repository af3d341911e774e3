/* SPDX-License-Identifier: Apache-2.0 */
/* MCP with one client on a pair of descriptors. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "jsonrpc/json_diagnose.h"
#include "jsonrpc/line_server.h"
#include "jsonrpc/line_transport.h"
#include "jsonrpc/tasks.h"
#include "mcp/mcp.h"
#include "mcp/mcp_kept.h"
#include "mcp_client/mcp_client.h"

struct stdio {
    struct px_line_transport lines;
    struct px_line_server server; /* the threads */
    struct px_tasks tasks;
    struct px_mcp *mcp;
    struct px_mcp_caller caller;
    struct px_clients_file *servers;
    struct px_mcp_approvals approvals;
    struct px_mcp_kept kept;
    atomic_bool listed; /* the client knows a list of tools */
};

/* A run. Another thread reads the next message meanwhile. */
struct stdio_call {
    struct px_task task; /* first */
    struct stdio *stdio;
    struct px_mcp_call *call;
};

static void send_message(void *closure, const char *message)
{
    struct stdio *stdio = closure;
    struct px_buffer px_auto_buffer line = {0};
    px_buffer_add_string(&line, message);
    px_line_transport_send(&stdio->lines, &line);
}

/* Answers that there is no memory; this needs none itself. `id` is JSON. */
static void lose(struct stdio *stdio, const char *id, size_t id_length)
{
    static const char head[] = PX_RPC_LOST_HEAD, tail[] = PX_MCP_LOST_TAIL;
    const struct iovec parts[] = {{(void *)(uintptr_t)head, sizeof head - 1},
                                  {(void *)(uintptr_t)id, id_length},
                                  {(void *)(uintptr_t)tail, sizeof tail - 1}};
    px_line_transport_send_parts(&stdio->lines, parts, PX_COUNT(parts));
}

static void lose_line(struct stdio *stdio, const char *line, size_t length)
{
    const char *id;
    size_t id_length = px_json_diagnose_find_id(line, length, &id);
    lose(stdio, id, id_length);
}

static void send_answer(struct stdio *stdio, struct px_mcp_call *call)
{
    if (call->withdrawn)
        return;
    if (!px_buffer_ok(&call->answer))
        lose(stdio, call->id ? call->id : "null", call->id ? strlen(call->id) : 4);
    else if (call->answer.length)
        px_line_transport_send(&stdio->lines, &call->answer);
}

static void serve_run(struct px_task *task)
{
    struct stdio_call *run = (struct stdio_call *)task;
    int64_t wait_ms;
    const char *awaited = px_mcp_awaits(run->call, &wait_ms);
    if (awaited)
        px_mcp_kept_wait(&run->stdio->kept, awaited, wait_ms);
    px_mcp_serve(run->call);
    if (run->call->lists)
        atomic_store(&run->stdio->listed, true);
    px_task_arrived(task); /* later tasks wait for this; a call that is refused early has not called it yet */
    send_answer(run->stdio, run->call);
}

static void cancel_run(struct px_task *task)
{
    px_mcp_cancel(((struct stdio_call *)task)->call);
}

static void free_run(struct px_task *task)
{
    px_mcp_call_free(((struct stdio_call *)task)->call);
    free(task);
}

static bool answered(const struct px_mcp_call *call)
{
    return call->answer.length || !px_buffer_ok(&call->answer);
}

/* Takes ownership of the call. */
static void start(struct stdio *stdio, struct px_mcp_call *call)
{
    pyexec_error error;
    struct stdio_call *run = calloc(1, sizeof *run);
    if (!run) {
        px_error_oom(&error);
        px_mcp_refuse(call, PX_RPC_INTERNAL_ERROR, "%s", error.message);
        send_answer(stdio, call);
        px_mcp_call_free(call);
        return;
    }
    *run = (struct stdio_call){
        .task = {.run = serve_run, .cancel = cancel_run, .free = free_run}, .stdio = stdio, .call = call};
    run->task.in_order = call->in_session;
    if (call->request)
        pyexec_request_set_arrived(call->request, px_task_arrived, &run->task);
    if (px_tasks_start_here(&stdio->tasks, &run->task, &error) == 0)
        return;
    px_mcp_refuse(call, PX_RPC_INTERNAL_ERROR, "%s. %s", error.message, error.hint);
    send_answer(stdio, call);
    free_run(&run->task);
}

static void take_line(void *closure, const char *line, size_t length, enum px_line_state state)
{
    struct stdio *stdio = closure;
    if (state == PX_LINE_TOO_LONG) {
        send_message(stdio, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,"
                            "\"message\":\"a line is longer than 32 MiB\"}}");
        return;
    }
    struct px_mcp_call *call = state == PX_LINE_WHOLE ? px_mcp_read(stdio->mcp, &stdio->caller, line, length) : NULL;
    if (!call) {
        lose_line(stdio, line, length);
        return;
    }
    if (px_mcp_approvals_take(&stdio->approvals, call->message)) {
        px_mcp_call_free(call);
        return;
    }
    int64_t unused;
    bool long_ = (call->slow && !px_mcp_detaches(call)) || call->waits || px_mcp_awaits(call, &unused);
    if (!answered(call) && long_) {
        start(stdio, call);
        return;
    }
    if (!answered(call)) {
        px_mcp_serve(call);
        if (strcmp(call->method, "initialize") == 0) {
            stdio->caller.version = call->version;
            stdio->caller.approvals = px_mcp_can_elicit(call->params) ? &stdio->approvals : NULL;
        }
    }
    send_answer(stdio, call);
    px_mcp_call_free(call);
}

static int start_kept(struct px_mcp_call *call, const char *key, char ret_id[PX_MCP_EXECUTION_ID], pyexec_error *error)
{
    struct stdio *stdio = call->caller.closure;
    return px_mcp_kept_start(&stdio->kept, call, key, ret_id, error);
}

static bool show_kept(struct px_mcp_call *call, const char *id, px_mcp_show_fn *show)
{
    struct stdio *stdio = call->caller.closure;
    return px_mcp_kept_show(&stdio->kept, call, id, show);
}

static bool cancel_kept(struct px_mcp_call *call, const char *id)
{
    struct stdio *stdio = call->caller.closure;
    return px_mcp_kept_cancel(&stdio->kept, id);
}

/* The model's client may ask for the list of tools again. */
static void tools_changed(void *closure)
{
    struct stdio *stdio = closure;
    if (atomic_load(&stdio->listed))
        send_message(stdio, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}");
}

static int open_clients(struct stdio *stdio, const struct px_mcp_config *config, pyexec_error *error)
{
    if (!config || !config->servers)
        return 0;
    if (px_clients_file_read(config->servers, &stdio->servers, error) < 0)
        return -1;
    const struct px_clients_config clients = {.file = stdio->servers,
                                              .call_timeout_ms = config->call_timeout_ms,
                                              .start_timeout_ms = config->start_timeout_ms,
                                              .changed = tools_changed,
                                              .closure = stdio};
    return px_clients_open(&clients, &stdio->caller.clients, error);
}

int px_mcp_stdio(pyexec_executor *executor, const struct px_policy *policy, const struct px_host *host,
                 const struct px_mcp_config *config, int input, int output, int stop, pyexec_error *error)
{
    px_auto_json json_t *ceiling = json_object();
    if (!ceiling)
        return px_error_oom(error);
    struct stdio stdio = {.caller = {.prefix = "",
                                     .scope = "",
                                     .version = PX_MCP_ASSUMED,
                                     .policy = policy,
                                     .ceiling = ceiling,
                                     .told_of_changes = true,
                                     .executions = &stdio.kept.executions,
                                     .notify = send_message}};
    stdio.caller.closure = &stdio;
    if (px_mcp_new(executor, &stdio.mcp, error) < 0)
        return -1;
    px_line_transport_init(&stdio.lines, output, stop);
    px_tasks_init(&stdio.tasks);
    px_mcp_approvals_init(&stdio.approvals);
    px_mcp_kept_init(&stdio.kept, &stdio.tasks, host);
    stdio.kept.executions.start = start_kept;
    stdio.kept.executions.show = show_kept;
    stdio.kept.executions.cancel = cancel_kept;
    int status = open_clients(&stdio, config, error);
    if (status == 0)
        px_line_server_run(&stdio.server, &stdio.lines, &stdio.tasks, input, take_line, &stdio);
    px_mcp_kept_stop(&stdio.kept);
    px_tasks_stop(&stdio.tasks);
    if (status == 0)
        px_line_server_end(&stdio.server);
    px_mcp_kept_done(&stdio.kept);
    px_clients_free(stdio.caller.clients);
    px_clients_file_free(stdio.servers);
    px_mcp_free(stdio.mcp);
    px_tasks_done(&stdio.tasks);
    px_mcp_approvals_done(&stdio.approvals);
    px_line_transport_done(&stdio.lines);
    return status < 0 ? -1 : stdio.lines.output_errno;
}
