/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace_context.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/retry.h"

#define LENGTH (PX_TRACEPARENT_SIZE - 1)
#define MEMBERS_MAX 32

static const char hex[] = "0123456789abcdef";

/* True if exactly `digits` digits follow, and with `not_zero` not only zeros. */
static bool is_hex(const char *text, size_t digits, bool not_zero)
{
    return strspn(text, hex) == digits && !(not_zero && strspn(text, "0") >= digits);
}

static unsigned value_of(char digit)
{
    return (unsigned)(strchr(hex, digit) - hex);
}

bool px_trace_context_parse(const char *traceparent, struct px_trace_context *ret)
{
    *ret = (struct px_trace_context){0};
    /* Later versions begin like version 00, and may be longer. Version ff is not allowed. */
    size_t length = traceparent ? strnlen(traceparent, LENGTH + 1) : 0;
    if (length < LENGTH || !is_hex(traceparent, 2, false) || strncmp(traceparent, "ff", 2) == 0)
        return false;
    if (length > LENGTH && (strncmp(traceparent, "00", 2) == 0 || traceparent[LENGTH] != '-'))
        return false;
    if (traceparent[2] != '-' || !is_hex(traceparent + 3, 32, true) || traceparent[35] != '-' ||
        !is_hex(traceparent + 36, 16, true) || traceparent[52] != '-' || !is_hex(traceparent + 53, 2, false))
        return false;
    memcpy(ret->trace_id, traceparent + 3, 32);
    memcpy(ret->span_id, traceparent + 36, 16);
    ret->flags = value_of(traceparent[53]) << 4 | value_of(traceparent[54]);
    return true;
}

void px_trace_context_format(const struct px_trace_context *context, char ret[PX_TRACEPARENT_SIZE])
{
    snprintf(ret, PX_TRACEPARENT_SIZE, "00-%.32s-%.16s-%02x", context->trace_id, context->span_id,
             context->flags & 0xff);
}

/* One KEY=VALUE without blanks around it. */
static bool is_member(const char *text, size_t length)
{
    static const char in_key[] = "abcdefghijklmnopqrstuvwxyz0123456789_-*/@";
    size_t key = strspn(text, in_key);
    if (key == 0 || key > 256 || key >= length || text[key] != '=' || length - key - 1 > 256)
        return false;
    for (size_t i = key + 1; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '=')
            return false;
    return true;
}

bool px_trace_state_is_valid(const char *tracestate)
{
    size_t members = 0;
    if (strnlen(tracestate, PX_TRACESTATE_MAX + 1) > PX_TRACESTATE_MAX)
        return false;
    for (const char *at = tracestate;;) {
        at += strspn(at, " \t");
        size_t length = strcspn(at, ","), used = length;
        while (used && (at[used - 1] == ' ' || at[used - 1] == '\t'))
            used--;
        /* The standard allows empty members. */
        if (used && (++members > MEMBERS_MAX || !is_member(at, used)))
            return false;
        if (!at[length])
            return members > 0;
        at += length + 1;
    }
}

int px_trace_sampler_parse(const char *text, double ratio, struct px_trace_sampler *ret)
{
    static const char parentbased[] = "parentbased_";
    bool follows = strncmp(text, parentbased, sizeof parentbased - 1) == 0;
    const char *word = text + (follows ? sizeof parentbased - 1 : 0);
    bool by_ratio = strcmp(word, "traceidratio") == 0, always = strcmp(word, "always_on") == 0;
    if ((!by_ratio && !always && strcmp(word, "always_off") != 0) || (by_ratio && !(ratio >= 0 && ratio <= 1)))
        return -1;
    *ret = (struct px_trace_sampler){.follows_parent = follows, .ratio = by_ratio ? ratio : always};
    return 0;
}

/* The last 16 digits of the id decide, as in the samplers of Go and Python: with the same ratio they choose the same traces. */
static bool is_chosen(const char *trace_id, double ratio)
{
    uint64_t number = strtoull(trace_id + 16, NULL, 16) >> 1;
    return ratio >= 1 || number < (uint64_t)(ratio * (double)(UINT64_C(1) << 63));
}

bool px_trace_is_recorded(const struct px_trace_sampler *sampler, const struct px_trace_context *parent,
                          const char *trace_id)
{
    if (*parent->trace_id && sampler->follows_parent)
        return parent->flags & PX_TRACE_SAMPLED;
    return is_chosen(trace_id, sampler->ratio);
}

int px_trace_make_id(char *ret, size_t digits)
{
    unsigned char bytes[16];
    if (px_random_bytes(bytes, digits / 2) < 0)
        return -1;
    bytes[0] |= bytes[0] ? 0 : 1; /* an id of zeros means that there is none */
    for (size_t i = 0; i < digits; i++)
        ret[i] = hex[i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4];
    ret[digits] = '\0';
    return 0;
}
