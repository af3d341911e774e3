/* SPDX-License-Identifier: Apache-2.0 */
#include "result/tool_claims.h"

#include <stdlib.h>
#include <string.h>

#include "result/display_claims.h"

void px_tool_claim_free(struct px_tool_claim *claim)
{
    if (!claim)
        return;
    px_buffer_done(&claim->arguments);
    free(claim);
}

struct px_tool_claim *px_tool_claims_next(struct px_tool_claims *claims)
{
    struct px_tool_claim *claim = claims->first;
    if (claim)
        claims->first = claim->next;
    return claim;
}

void px_tool_claims_done(struct px_tool_claims *claims)
{
    px_tool_claim_free(claims->open);
    claims->open = NULL;
    for (struct px_tool_claim *claim; (claim = px_tool_claims_next(claims));)
        px_tool_claim_free(claim);
}

static void append(struct px_tool_claims *claims, struct px_tool_claim *claim)
{
    claim->next = NULL;
    if (claims->first)
        claims->newest->next = claim;
    else
        claims->first = claim;
    claims->newest = claim;
}

static const char *begin(struct px_tool_claims *claims, const struct px_wire_field *field)
{
    uint64_t number;
    if (claims->open || field->length <= sizeof number || field->length > sizeof number + PX_TOOL_NAME_MAX)
        return "a malformed tool call";
    memcpy(&number, field->bytes, sizeof number);
    if (number <= claims->last)
        return "a tool call whose number was used before";
    if (claims->outstanding == PX_TOOL_CALLS_AT_ONCE)
        return "more tool calls at once than it may";
    struct px_tool_claim *claim = calloc(1, sizeof *claim);
    if (!claim)
        return px_no_memory;
    claims->last = claim->number = number;
    memcpy(claim->name, field->bytes + sizeof number, field->length - sizeof number);
    claims->outstanding++;
    claims->open = claim;
    return NULL;
}

static const char *add_arguments(struct px_tool_claims *claims, const struct px_wire_field *field)
{
    struct px_tool_claim *claim = claims->open;
    if (!claim)
        return "arguments of no tool call";
    if (field->length > PX_TOOL_VALUE_MAX - claim->arguments.length ||
        field->length > PX_TOOL_ARGUMENTS_AT_ONCE - claims->bytes)
        return "arguments of a tool call that are too large";
    claims->bytes += field->length;
    px_buffer_add(&claim->arguments, field->bytes, field->length);
    return px_buffer_ok(&claim->arguments) ? NULL : px_no_memory;
}

static const char *abandon(struct px_tool_claims *claims, const struct px_wire_field *field)
{
    struct px_tool_claim *claim = calloc(1, sizeof *claim);
    if (!claim)
        return px_no_memory;
    claim->abandons = true;
    append(claims, claim);
    if (field->length != sizeof claim->number)
        return "a malformed end of a tool call";
    memcpy(&claim->number, field->bytes, sizeof claim->number);
    return NULL;
}

const char *px_tool_claims_take(struct px_tool_claims *claims, const struct px_wire_field *field)
{
    if (!claims->offered)
        return "a tool call in a run without tools";
    switch (field->kind) {
    case PX_RESULT_TOOL_CALL:
        return begin(claims, field);
    case PX_RESULT_TOOL_ARGUMENTS:
        return add_arguments(claims, field);
    case PX_RESULT_TOOL_ABANDON:
        return abandon(claims, field);
    default:
        if (!claims->open)
            return "an end without a tool call";
        append(claims, claims->open);
        claims->open = NULL;
        return NULL;
    }
}
