/* SPDX-License-Identifier: Apache-2.0 */
/* Reports of refusals. Each is sent when it happens, so that a run that is killed later loses none. */
#include <string.h>

#include "base/buffer.h"
#include "base/utf8.h"
#include "guest/guard/denial.h"
#include "guest/guard/guard.h"

#define WHAT_MAX 200
#define HINT_MAX 1000

static const struct px_script *run;
static unsigned sent;
static uint64_t dropped;

void px_denial_arm(const struct px_script *armed)
{
    run = armed;
    sent = 0;
    dropped = 0;
}

uint64_t px_guard_denials_dropped(void)
{
    return dropped;
}

/* Copies at most `limit` bytes as valid UTF-8, which the host requires: a path can be any bytes. */
static size_t put_clean(char *to, const char *text, size_t limit)
{
    struct px_buffer px_auto_buffer repaired = {0};
    if (!px_utf8_valid(text, strlen(text), NULL)) {
        px_utf8_repair(&repaired, text, strlen(text));
        text = px_buffer_shown(&repaired);
    }
    size_t length = px_utf8_truncate(text, strlen(text), limit);
    memcpy(to, text, length);
    return length;
}

void px_guard_deny(enum px_denial_layer layer, const char *what, const char *hint)
{
    px_guard_deny_at(layer, what, hint, px_guard_script_line());
}

void px_guard_deny_at(enum px_denial_layer layer, const char *what, const char *hint, int32_t line)
{
    if (!run)
        return;
    if (sent >= PX_DENIALS_MAX) {
        dropped++;
        return;
    }
    sent++;
    /* not the run's writer, which may hold half a result */
    static struct px_wire_writer writer;
    char field[sizeof(uint8_t) + sizeof(int32_t) + sizeof(uint16_t) + WHAT_MAX + HINT_MAX];
    uint8_t kind = (uint8_t)layer;
    size_t head = sizeof kind + sizeof line + sizeof(uint16_t);
    uint16_t what_length = (uint16_t)put_clean(field + head, what, WHAT_MAX);
    size_t length = head + what_length;
    length += put_clean(field + length, hint, HINT_MAX);
    memcpy(field, &kind, sizeof kind);
    memcpy(field + sizeof kind, &line, sizeof line);
    memcpy(field + sizeof kind + sizeof line, &what_length, sizeof what_length);
    writer.socket = run->out->socket;
    writer.length = 0;
    px_wire_put(&writer, PX_RESULT_DENIAL, field, length);
    px_wire_flush(&writer);
}
