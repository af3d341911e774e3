/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that jansson refuses. Some of them are valid JSON by RFC 8259: lone surrogates, numbers out of range,
 * NUL in a key, a key that occurs twice, deep nesting. Such a message has an id, so it gets an answer that names
 * the bad value. Otherwise the client would wait for an answer that never comes. */
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

/* Writes an id as text. Two ids are the same if their texts are. */
#define PX_RPC_ID_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

/* Finds the reason. Returns 0 with *ret_id (the JSON of the id) and `error` for the answer. Otherwise returns an
 * error code of JSON-RPC, for an answer without an id and with the problem's text. */
int px_json_diagnose_message(const char *message, size_t length, const json_error_t *problem, struct px_buffer *ret_id,
                             pyexec_error *error);

/* The same for JSON that is no message, such as the body of a request. Returns false when it is no JSON. */
bool px_json_diagnose(const char *text, size_t length, const json_error_t *problem, pyexec_error *error);

/* Finds the JSON of the id inside the message, or "null" if there is none. For an answer when there is no memory.
 * The message may be incomplete. */
size_t px_json_diagnose_find_id(const char *message, size_t length, const char **ret_start);

/* The answer is sent in three parts: the head, the id, and the tail of the protocol. So it needs no memory. */
#define PX_RPC_LOST_HEAD "{\"jsonrpc\":\"2.0\",\"id\":"
#define PX_RPC_LOST_TAIL \
    ",\"error\":{\"code\":-32000,\"message\":\"can't allocate memory\",\"data\":{\"code\":\"internal\"," \
    "\"message\":\"can't allocate memory\",\"hint\":\"" PX_OOM_HINT "\"}}}\n"
#define PX_MCP_LOST_TAIL ",\"error\":{\"code\":-32603,\"message\":\"can't allocate memory. " PX_OOM_HINT "\"}}\n"

#endif
