/* Reports of refusals, sent as they happen: a run that is killed later loses none. */
#include <string.h>

#include "base/utf8.h"
#include "guest/denial.h"
#include "guest/guard.h"

#define WHAT_MAX 200
#define HINT_MAX 1000

static const struct px_run *run;
static unsigned sent;
static uint64_t dropped;

void px_denial_arm(const struct px_run *armed)
{
    run = armed;
    sent = 0;
    dropped = 0;
}

uint64_t px_guard_denials_dropped(void)
{
    return dropped;
}

void px_guard_deny(enum px_denial_layer layer, const char *what, const char *hint)
{
    if (!run)
        return;
    if (sent >= PX_DENIALS_MAX) {
        dropped++;
        return;
    }
    sent++;
    /* A writer of its own: the run's may hold half a result. */
    static struct px_wire_writer writer;
    char field[sizeof(uint8_t) + sizeof(int32_t) + sizeof(uint16_t) + WHAT_MAX + HINT_MAX];
    uint8_t kind = (uint8_t)layer;
    int32_t line = px_guard_script_line();
    uint16_t what_length = (uint16_t)px_utf8_truncate(what, strlen(what), WHAT_MAX);
    size_t hint_length = px_utf8_truncate(hint, strlen(hint), HINT_MAX), at = 0;
    memcpy(field, &kind, sizeof kind);
    at += sizeof kind;
    memcpy(field + at, &line, sizeof line);
    at += sizeof line;
    memcpy(field + at, &what_length, sizeof what_length);
    at += sizeof what_length;
    memcpy(field + at, what, what_length);
    at += what_length;
    memcpy(field + at, hint, hint_length);
    at += hint_length;
    writer.socket = run->out->socket;
    writer.length = 0;
    px_wire_put(&writer, PX_RESULT_DENIAL, field, at);
    px_wire_flush(&writer);
}
