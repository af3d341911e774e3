/* SPDX-License-Identifier: Apache-2.0 */
/* The answers on an RPC connection: lines made of JSON texts. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "rpc/rpc_private.h"

void px_rpc_lose(struct px_rpc *rpc, const char *id, size_t id_length)
{
    static const char head[] = PX_RPC_LOST_HEAD, tail[] = PX_RPC_LOST_TAIL;
    const struct iovec parts[] = {{(void *)(uintptr_t)head, sizeof head - 1},
                                  {(void *)(uintptr_t)id, id_length},
                                  {(void *)(uintptr_t)tail, sizeof tail - 1}};
    px_line_transport_send_parts(&rpc->lines, parts, PX_COUNT(parts));
}

/* Adds an answer whose last member is this JSON. */
static void add_answer(struct px_buffer *line, const char *id, const char *member, const char *json)
{
    px_buffer_printf(line, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"%s\":", id, member);
    px_buffer_add_string(line, json);
    px_buffer_add_byte(line, '}');
}

/* Returns false when there is no memory. */
static bool send_answer(struct px_rpc *rpc, const char *id, const char *member, const char *json)
{
    struct px_buffer px_auto_buffer line = {0};
    add_answer(&line, id, member, json);
    px_line_transport_send(&rpc->lines, &line);
    return px_buffer_ok(&line);
}

void px_rpc_answer(struct px_rpc *rpc, const char *id, const char *result)
{
    pyexec_error error;
    if (id && !send_answer(rpc, id, "result", result)) {
        px_error_oom(&error);
        px_rpc_fail(rpc, id, &error);
    }
}

bool px_rpc_answer_and_move(struct px_rpc *rpc, const char *id, int fd)
{
    struct px_buffer px_auto_buffer line = {0};
    px_auto_fd int output = fd;
    if (id)
        add_answer(&line, id, "result", "{}");
    if (id)
        px_buffer_add_byte(&line, '\n');
    if (px_buffer_ok(&line))
        px_line_transport_move(&rpc->lines, &line, TAKE_FD(output));
    return px_buffer_ok(&line);
}

/* Takes ownership of `error`. */
static void send_error(struct px_rpc *rpc, const char *id, json_t *error)
{
    px_auto_free char *json = px_json_take_text(error);
    if (!json || !send_answer(rpc, id, "error", json))
        px_rpc_lose(rpc, id, strlen(id));
}

void px_rpc_refuse(struct px_rpc *rpc, const char *id, int code, const char *text)
{
    struct px_buffer px_auto_buffer message = {0};
    px_utf8_repair(&message, text, strlen(text));
    send_error(rpc, id ? id : "null", json_pack("{s:i, s:s}", "code", code, "message", px_buffer_string(&message)));
}

void px_rpc_fail(struct px_rpc *rpc, const char *id, const pyexec_error *error)
{
    if (!id)
        return;
    json_t *data = json_pack("{s:s, s:s, s:s}", "code", pyexec_code_name(error->code), "message", error->message,
                             "hint", error->hint);
    if (data && error->retry_after_ms)
        px_json_set(data, "retry_after_ms", json_integer(error->retry_after_ms));
    send_error(rpc, id,
               json_pack("{s:i, s:s, s:o}", "code", PX_RPC_PYEXEC_FAILED, "message", error->message, "data", data));
}
