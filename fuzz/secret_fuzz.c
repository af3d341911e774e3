/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses what the rest is.
 * 's': a stream in which secrets are replaced. The second byte is the length of its parts. However it is split, the result has the same
 * length, has no secret, and without pauses is the same as in one part.
 * 'q': a request to a host with a secret. If it is taken, its new head is one that the parser takes again, with the secret's field once.
 * 'a': an answer of such a host. If it is taken, the parser takes the new head again. */
#include <string.h>

#include "base/cleanup.h"
#include "egress/secret_http.h"
#include "fuzz.h"

#define VALUE "secret-secret-value"

static const struct px_scrub_pattern patterns[] = {{"abcabcabd", "000000000", 9}, {"cabdcabd", "11111111", 8}};

static void require_clean(const struct px_buffer *out, size_t skipped)
{
    for (size_t i = 0; i < PX_COUNT(patterns); i++)
        require(out->length <= skipped || !memmem(out->data, out->length, patterns[i].secret, patterns[i].length));
}

static void scrub(const char *bytes, size_t length, size_t part, bool pauses, struct px_buffer *out)
{
    px_auto(px_scrub_done) struct px_scrub state;
    px_scrub_init(&state, patterns, PX_COUNT(patterns));
    for (size_t at = 0; at < length; at += part) {
        px_scrub_take(&state, bytes + at, length - at < part ? length - at : part, out);
        if (pauses)
            px_scrub_pause(&state, out);
    }
    px_scrub_end(&state, out);
    require(px_buffer_ok(out) && out->length == length);
    require_clean(out, 0);
}

static void try_stream(const char *bytes, size_t length, size_t part)
{
    px_auto_buffer struct px_buffer whole = {0}, parts = {0}, paused = {0};
    scrub(bytes, length, length ? length : 1, false, &whole);
    scrub(bytes, length, part ? part : 1, false, &parts);
    scrub(bytes, length, part ? part : 1, true, &paused);
    require(!length || memcmp(whole.data, parts.data, length) == 0);
}

static void try_request(const char *bytes, size_t length)
{
    static char header[] = "X-Key", before[] = "Token ", after[] = "", value[] = VALUE;
    static struct px_http_head head, again;
    const struct px_secret secret = {
        .header = header, .before = before, .after = after, .value = value, .length = sizeof value - 1};
    const struct px_secret_use use = {.secret = &secret};
    struct px_secret_request request;
    px_auto_buffer struct px_buffer made = {0};
    struct px_http_text field = {NULL, 0};
    const char *why = NULL;
    if (px_http_request_parse(bytes, length, &head))
        return;
    if (px_secret_http_request(&head, length, "api.example", 443, &use, 1, &request, &made, &why) != PX_SECRET_GOOD) {
        require(why && *why);
        return;
    }
    size_t scanned = 0, capacity = made.capacity;
    require(px_buffer_ok(&made) && capacity >= made.length);
    require(px_http_head_length(made.data, made.length, &scanned) == made.length);
    require(!px_http_request_parse(made.data, made.length, &again));
    require(px_http_field_count(&again, "x-key", &field) == 1 && px_http_text_is(field, "Token " VALUE));
    require(px_http_field_count(&again, "host", &field) == 1 && px_http_text_is(field, "api.example"));
    require(px_http_field_count(&again, "accept-encoding", &field) == 1 && px_http_text_is(field, "identity"));
}

static void try_answer(const char *bytes, size_t length)
{
    static struct px_http_head head, again;
    const struct px_secret_request request = {.websocket = length % 2, .no_body = length % 3 == 0};
    enum px_http_framing framing;
    uint64_t body;
    px_auto_buffer struct px_buffer made = {0};
    if (px_http_response_parse(bytes, length, &head) ||
        px_secret_http_response(&head, &request, &framing, &body, &made))
        return;
    require(px_buffer_ok(&made) && !px_http_response_parse(made.data, made.length, &again));
    require(again.status == head.status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    /* A copy of exactly this length, so that AddressSanitizer reports each read beyond its end. */
    size_t length = size - (data[0] == 's' ? 2 : 1);
    px_auto_free char *bytes = malloc(length ? length : 1);
    require(bytes);
    memcpy(bytes, data + size - length, length);
    if (data[0] == 's')
        try_stream(bytes, length, data[1]);
    else if (data[0] == 'q')
        try_request(bytes, length);
    else if (data[0] == 'a')
        try_answer(bytes, length);
    return 0;
}
