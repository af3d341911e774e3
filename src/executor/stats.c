/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/stats.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "executor/session_private.h"
#include "result/result.h"

void px_count_result(struct px_counters *counters, const pyexec_result *result)
{
    size_t i;
    json_t *denial;
    px_count(&counters->executions[result->status], 1);
    for (size_t which = 0; which < 2; which++)
        px_count(&counters->output_bytes[which], result->streams[which].bytes);
    json_array_foreach(result->claims.denials, i, denial) {
        const char *layer = json_string_value(json_object_get(denial, "layer"));
        for (enum px_denial_layer kind = 0; kind < PX_DENIAL_KINDS; kind++)
            if (strcmp(layer, px_denial_layer_name(kind)) == 0)
                px_count(&counters->denials[kind], 1);
    }
}

static void put(json_t *object, const char *key, uint64_t value)
{
    px_json_set(object, key, json_integer((json_int_t)value));
}

static json_t *by_status(const struct px_counters *counters)
{
    json_t *object = json_object();
    for (unsigned status = 0; status < PX_COUNT(counters->executions); status++)
        put(object, pyexec_status_name((pyexec_status)status), counters->executions[status]);
    return object;
}

static json_t *by_layer(const struct px_counters *counters)
{
    json_t *object = json_object();
    for (enum px_denial_layer kind = 0; kind < PX_DENIAL_KINDS; kind++)
        put(object, px_denial_layer_name(kind), counters->denials[kind]);
    return object;
}

static void put_executor(json_t *stats, pyexec_executor *executor)
{
    size_t ready = 0;
    pthread_mutex_lock(&executor->lock);
    px_layers missing = executor->missing;
    for (size_t i = 0; i < PX_ZYGOTE_GROUPS_MAX; i++) {
        if (executor->kinds[i].pool)
            ready += px_pool_ready(executor->kinds[i].pool);
        if (executor->kinds[i].zygotes)
            missing |= px_zygotes_missing(executor->kinds[i].zygotes);
    }
    pthread_mutex_unlock(&executor->lock);
    struct px_turn_counts turns;
    px_turns_count(&executor->turns, &turns);
    put(stats, "running", turns.busy + turns.asleep);
    put(stats, "asleep", turns.asleep);
    put(stats, "queued", turns.queued);
    put(stats, "pool_ready", ready);
    px_json_set(stats, "missing_layers", px_layers_to_json(missing));
}

static void put_counters(json_t *stats, const struct px_counters *counters)
{
    px_json_set(stats, "executions", by_status(counters));
    px_json_set(stats, "denials", by_layer(counters));
    put(stats, "stdout_bytes", counters->output_bytes[0]);
    put(stats, "stderr_bytes", counters->output_bytes[1]);
    put(stats, "pool_hits", counters->pool_hits);
    put(stats, "pool_misses", counters->pool_misses);
    put(stats, "pool_refills", counters->pool_refills);
    put(stats, "forks", counters->forks);
    put(stats, "zygote_starts", counters->zygote_starts);
    put(stats, "zygote_restarts", counters->zygote_restarts);
}

static void put_sessions(json_t *stats, struct px_sessions *sessions)
{
    json_t *ends = json_object();
    size_t busy = 0;
    pthread_mutex_lock(&sessions->lock);
    for (enum px_session_end end = PX_END_KILLED; end < PX_END_COUNT; end++)
        put(ends, px_session_end_name(end), sessions->ends[end]);
    for (const struct px_session *one = sessions->oldest; one; one = one->next)
        busy += one->state == PX_SESSION_BUSY;
    put(stats, "sessions", sessions->count);
    put(stats, "sessions_opened", sessions->opened);
    pthread_mutex_unlock(&sessions->lock);
    put(stats, "sessions_busy", busy);
    px_json_set(stats, "sessions_ended", ends);
}

int pyexec_stats_json(pyexec_executor *executor, char **ret, pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    json_t *stats = json_object();
    if (!sessions || !stats) {
        json_decref(stats);
        return sessions ? px_error_oom(error) : -1;
    }
    put_counters(stats, &executor->counters);
    put_executor(stats, executor);
    put_sessions(stats, sessions);
    char *text = px_json_take_text(stats);
    if (!text)
        return px_error_oom(error);
    *ret = text;
    return 0;
}
