/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec_stats() and its JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "environments/environment.h"
#include "executor/session_private.h"
#include "result/result.h"

/* The function given to pyexec_stats(), which gets each number. */
struct sink {
    pyexec_stat_fn put;
    void *userdata;
};

static void put(const struct sink *to, const char *key, uint64_t value)
{
    to->put(to->userdata, key, NULL, value);
}

static void put_by_status(const struct sink *to, const struct px_counters *counters)
{
    for (unsigned status = 0; status < PX_COUNT(counters->executions); status++)
        to->put(to->userdata, "executions", pyexec_status_name((pyexec_status)status), counters->executions[status]);
}

static void put_by_layer(const struct sink *to, const struct px_counters *counters)
{
    for (enum px_denial_layer kind = 0; kind < PX_DENIAL_KINDS; kind++)
        to->put(to->userdata, "denials", px_denial_layer_name(kind), counters->denials[kind]);
}

/* The kinds of one environment. */
struct kinds_of {
    char environment[PX_ENVIRONMENT_NAME_MAX + 1];
    uint64_t count, bytes;
};

static const char *environment_of(const struct px_zygote_group *kind)
{
    const struct px_environment *environment = px_zygotes_environment(kind->zygotes);
    return environment ? environment->name : "none";
}

/* The caller holds the executor's lock. Returns how many environments there are; the list has room for one for each kind. */
static size_t count_kinds(const struct px_kinds *kinds, struct kinds_of *list)
{
    size_t count = 0;
    for (const struct px_zygote_group *kind = kinds->first; kind; kind = kind->next) {
        size_t i = 0;
        while (i < count && strcmp(list[i].environment, environment_of(kind)) != 0)
            i++;
        if (i == count)
            snprintf(list[count++].environment, sizeof list->environment, "%s", environment_of(kind));
        list[i].count++;
        list[i].bytes += px_zygotes_memory(kind->zygotes);
    }
    return count;
}

static int put_executor(const struct sink *to, pyexec_executor *executor, px_layers *ret_missing, pyexec_error *error)
{
    size_t ready = 0;
    pthread_mutex_lock(&executor->lock);
    px_layers missing = executor->missing;
    px_auto_free struct kinds_of *kinds = calloc(executor->kinds.count + 1, sizeof *kinds);
    size_t count = kinds ? count_kinds(&executor->kinds, kinds) : 0;
    for (const struct px_zygote_group *kind = executor->kinds.first; kind; kind = kind->next) {
        ready += kind->pool ? px_pool_ready(kind->pool) : 0;
        missing |= px_zygotes_missing(kind->zygotes);
    }
    pthread_mutex_unlock(&executor->lock);
    if (!kinds)
        return px_error_oom(error);
    struct px_turn_counts turns;
    px_turns_count(&executor->turns, &turns);
    put(to, "running", turns.busy + turns.asleep);
    put(to, "asleep", turns.asleep);
    put(to, "queued", turns.queued);
    put(to, "pool_ready", ready);
    for (size_t i = 0; i < count; i++) {
        to->put(to->userdata, "zygote_kinds", kinds[i].environment, kinds[i].count);
        to->put(to->userdata, "zygote_memory_bytes", kinds[i].environment, kinds[i].bytes);
    }
    *ret_missing = missing;
    return 0;
}

static void put_counters(const struct sink *to, const struct px_counters *counters)
{
    static const char *const verdicts[] = {PX_NETWORK_VERDICTS};
    put_by_status(to, counters);
    put_by_layer(to, counters);
    put(to, "stdout_bytes", counters->output_bytes[0]);
    put(to, "stderr_bytes", counters->output_bytes[1]);
    for (size_t i = 0; i < PX_COUNT(verdicts); i++)
        to->put(to->userdata, "network_connections", verdicts[i], counters->network_connections[i]);
    put(to, "network_sent_bytes", counters->network_bytes[0]);
    put(to, "network_received_bytes", counters->network_bytes[1]);
    put(to, "pool_hits", counters->pool_hits);
    put(to, "pool_misses", counters->pool_misses);
    put(to, "pool_refills", counters->pool_refills);
    put(to, "forks", counters->forks);
    put(to, "zygote_starts", counters->zygote_starts);
    put(to, "zygote_restarts", counters->zygote_restarts);
}

/* PX_END_HOST_RESTART is left out: such a session belonged to an executor before this one. */
static void put_sessions(const struct sink *to, struct px_sessions *sessions)
{
    uint64_t ends[PX_END_COUNT], busy = 0;
    pthread_mutex_lock(&sessions->lock);
    for (enum px_session_end end = PX_END_KILLED; end < PX_END_HOST_RESTART; end++)
        ends[end] = sessions->ends[end];
    for (const struct px_session *one = sessions->oldest; one; one = one->next)
        busy += one->state == PX_SESSION_BUSY;
    uint64_t count = sessions->count, opened = sessions->opened;
    pthread_mutex_unlock(&sessions->lock);
    put(to, "sessions", count);
    put(to, "sessions_opened", opened);
    put(to, "sessions_busy", busy);
    for (enum px_session_end end = PX_END_KILLED; end < PX_END_HOST_RESTART; end++)
        to->put(to->userdata, "sessions_ended", px_session_end_name(end), ends[end]);
}

static int visit(pyexec_executor *executor, const struct sink *to, px_layers *ret_missing, pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    put_counters(to, &executor->counters);
    if (put_executor(to, executor, ret_missing, error) < 0)
        return -1;
    put_sessions(to, sessions);
    return 0;
}

int pyexec_stats(pyexec_executor *executor, pyexec_stat_fn fn, void *userdata, pyexec_error *error)
{
    px_layers missing;
    return visit(executor, &(struct sink){fn, userdata}, &missing, error);
}

/* A pyexec_stat_fn that puts the numbers into a JSON object. */
static void add_member(void *userdata, const char *key, const char *thing, uint64_t value)
{
    json_t *stats = userdata, *number = json_integer((json_int_t)value);
    if (thing && !json_object_get(stats, key))
        px_json_set(stats, key, json_object());
    px_json_set(thing ? json_object_get(stats, key) : stats, thing ? thing : key, number);
}

int pyexec_stats_json(pyexec_executor *executor, char **ret, pyexec_error *error)
{
    px_auto_json json_t *stats = json_object();
    px_layers missing;
    if (!stats)
        return px_error_oom(error);
    if (visit(executor, &(struct sink){add_member, stats}, &missing, error) < 0)
        return -1;
    px_json_set(stats, "missing_layers", px_layers_to_json(missing));
    char *text = px_json_dumps(stats, JSON_COMPACT);
    if (!text)
        return px_error_oom(error);
    *ret = text;
    return 0;
}
