/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/scrub.h"

#include <string.h>

void px_scrub_init(struct px_scrub *scrub, const struct px_scrub_pattern *patterns, size_t count)
{
    *scrub = (struct px_scrub){.patterns = patterns, .count = count};
}

static void forget(struct px_buffer *buffer)
{
    if (buffer->data)
        explicit_bzero(buffer->data, buffer->capacity);
    px_buffer_done(buffer);
}

void px_scrub_done(struct px_scrub *scrub)
{
    forget(&scrub->raw);
    forget(&scrub->clean);
    scrub->given = 0;
}

/* Replaces each occurrence in `raw`, also where two of them overlap: so the search is always in the original bytes. */
static void replace(const struct px_scrub_pattern *pattern, const char *raw, size_t length, char *clean)
{
    size_t at = 0;
    while (at + pattern->length <= length) {
        const char *found = memmem(raw + at, length - at, pattern->secret, pattern->length);
        if (!found)
            return;
        at = (size_t)(found - raw);
        memcpy(clean + at, pattern->replacement, pattern->length);
        at++;
    }
}

/* Returns how many of the last bytes are the beginning of a secret and not the whole of it. */
static size_t beginning(const struct px_scrub_pattern *pattern, const char *bytes, size_t length)
{
    size_t most = pattern->length - 1 < length ? pattern->length - 1 : length;
    for (size_t have = most; have > 0; have--)
        if (memcmp(bytes + length - have, pattern->secret, have) == 0)
            return have;
    return 0;
}

/* Appends the first bytes that were not given out, and keeps the rest. */
static void give(struct px_scrub *scrub, size_t length, struct px_buffer *to)
{
    if (length > scrub->given)
        px_buffer_add(to, scrub->clean.data + scrub->given, length - scrub->given);
    scrub->given = scrub->given > length ? scrub->given - length : 0;
    px_buffer_consume(&scrub->raw, length);
    px_buffer_consume(&scrub->clean, length);
}

void px_scrub_take(struct px_scrub *scrub, const char *bytes, size_t length, struct px_buffer *to)
{
    size_t held = 0;
    px_buffer_add(&scrub->raw, bytes, length);
    px_buffer_add(&scrub->clean, bytes, length);
    if (!px_buffer_ok(&scrub->raw) || !px_buffer_ok(&scrub->clean)) {
        to->failed = true;
        return;
    }
    if (!length)
        return;
    for (size_t i = 0; i < scrub->count; i++) {
        replace(&scrub->patterns[i], scrub->raw.data, scrub->raw.length, scrub->clean.data);
        size_t have = beginning(&scrub->patterns[i], scrub->raw.data, scrub->raw.length);
        held = have > held ? have : held;
    }
    give(scrub, scrub->raw.length - held, to);
}

void px_scrub_pause(struct px_scrub *scrub, struct px_buffer *to)
{
    size_t most = PX_SCRUB_PAUSE_MAX, held = scrub->raw.length;
    for (size_t i = 0; i < scrub->count; i++)
        if (held && beginning(&scrub->patterns[i], scrub->raw.data, held) && scrub->patterns[i].length / 8 < most)
            most = scrub->patterns[i].length / 8;
    if (held <= scrub->given || held > most)
        return;
    px_buffer_add(to, scrub->clean.data + scrub->given, held - scrub->given);
    scrub->given = held;
}

void px_scrub_end(struct px_scrub *scrub, struct px_buffer *to)
{
    give(scrub, scrub->raw.length, to);
}
