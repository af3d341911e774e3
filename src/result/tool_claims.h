/* SPDX-License-Identifier: Apache-2.0 */
/* The tool calls that a child claims: hostile bytes. They are put together from fields, with limits. Whether the
 * arguments are JSON is checked by the thread that makes the call (px_json_claim_ok()). */
#ifndef PX_RESULT_TOOL_CLAIMS_H
#define PX_RESULT_TOOL_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "protocol/wire.h"

struct px_tool_claim {
    struct px_tool_claim *next;
    uint64_t number;
    bool abandons; /* the script abandons the call with this number; no other member is set */
    char name[PX_TOOL_NAME_MAX + 1];
    struct px_buffer arguments;
};

struct px_tool_claims {
    bool offered;       /* the run has tools */
    size_t outstanding; /* calls without an answer, and bytes of their arguments; the run subtracts */
    size_t bytes;
    uint64_t last; /* number of the last call */
    struct px_tool_claim *open;
    struct px_tool_claim *first, *newest; /* complete calls, which the run takes */
};

void px_tool_claims_done(struct px_tool_claims *claims);
void px_tool_claim_free(struct px_tool_claim *claim);

/* Takes one field of the TOOL kinds. Returns NULL, or what is wrong with it. */
const char *px_tool_claims_take(struct px_tool_claims *claims, const struct px_wire_field *field);

/* Returns the next complete call, which the caller gives to px_tool_claim_free(), or NULL. */
struct px_tool_claim *px_tool_claims_next(struct px_tool_claims *claims);

#endif
