/* SPDX-License-Identifier: Apache-2.0 */
/* The table of live sessions, and what is remembered of ended ones. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "executor/session_private.h"

int px_session_list(struct px_sessions *sessions, struct px_session *session)
{
    const json_t *ended = json_object_get(sessions->ended, session->key);
    session->restarted = (enum px_session_end)json_integer_value(ended);
    if (json_object_set_new(sessions->table, session->key, json_integer((json_int_t)(intptr_t)session)) < 0)
        return -1;
    if (ended || json_object_set_new(sessions->ended, session->key, json_integer(PX_END_NONE)) == 0)
        return 0;
    json_object_del(sessions->table, session->key);
    return -1;
}

void px_session_remember(struct px_sessions *sessions, struct px_session *session, enum px_session_end why)
{
    char **slot = &sessions->history[sessions->history_next];
    sessions->history_next = (sessions->history_next + 1) % PX_HISTORY_MAX;
    if (*slot && !json_object_get(sessions->table, *slot))
        json_object_del(sessions->ended, *slot);
    free(*slot);
    *slot = TAKE_PTR(session->history_key);
    json_integer_set(json_object_get(sessions->ended, session->key), why);
    sessions->ends[why]++;
}
