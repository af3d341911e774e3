/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that jansson refuses. Some of them are JSON (RFC 8259) all the same: lone surrogates,
 * numbers out of range, NUL in a key, a key twice, too deep nesting. They have an id to be answered
 * under and a value to be named, so that no client waits for an answer that never comes. */
#ifndef PX_JSONRPC_JSON_DIAGNOSE_H
#define PX_JSONRPC_JSON_DIAGNOSE_H

#include "base/json.h"

#include "base/buffer.h"
#include "base/error.h"
#include "pyexec.h"

/* JSON-RPC 2.0, section 5.1. */
enum {
    PX_RPC_PARSE_ERROR = -32700,
    PX_RPC_INVALID_REQUEST = -32600,
    PX_RPC_METHOD_NOT_FOUND = -32601,
    PX_RPC_INVALID_PARAMS = -32602,
    PX_RPC_INTERNAL_ERROR = -32603
};

/* How an id becomes text; two are the same when their texts are. */
#define PX_RPC_ID_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

/* 0 with *ret_id (its JSON) and the error to be given; else a code of JSON-RPC's for an answer
 * without id and with the problem's text. */
int px_json_diagnose_message(const char *message, size_t length, const json_error_t *problem, struct px_buffer *ret_id,
                             pyexec_error *error);

/* The id's JSON within the message, "null" when there is none: for an answer that there is no memory for.
 * The message may be cut off at its end. */
size_t px_json_diagnose_find_id(const char *message, size_t length, const char **ret_start);

/* That answer is made of parts: the head, the id, and the tail of the protocol. */
#define PX_RPC_LOST_HEAD "{\"jsonrpc\":\"2.0\",\"id\":"
#define PX_RPC_LOST_TAIL \
    ",\"error\":{\"code\":-32000,\"message\":\"can't allocate memory\",\"data\":{\"code\":\"internal\"," \
    "\"message\":\"can't allocate memory\",\"hint\":\"" PX_OOM_HINT "\"}}}\n"
#define PX_MCP_LOST_TAIL ",\"error\":{\"code\":-32603,\"message\":\"can't allocate memory. " PX_OOM_HINT "\"}}\n"

#endif
