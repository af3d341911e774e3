/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy says about a run: refusals, and the hosts that it reached. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/host_entry.h"
#include "protocol/egress.h"
#include "runner/proxy_private.h"

static struct px_proxy_run *find(struct px_proxy *proxy, const json_t *event)
{
    json_int_t number = json_integer_value(json_object_get(event, "run"));
    struct px_proxy_run *run = proxy->runs;
    while (run && (json_int_t)run->number != number)
        run = run->next;
    return run;
}

void px_proxy_take_event(struct px_proxy *proxy, const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "event"));
    struct px_proxy_run *run = find(proxy, event);
    if (!name || !run)
        return;
    if (strcmp(name, "opened") == 0)
        run->opened = true;
    if (strcmp(name, "failed") == 0 && !run->refused)
        run->refused = json_incref((json_t *)(uintptr_t)event);
    if (strcmp(name, "denied") == 0 && json_array_size(run->denied) < PX_EGRESS_ROWS_MAX)
        px_json_append(run->denied, json_incref((json_t *)(uintptr_t)event));
    if (strcmp(name, "report") == 0) {
        json_decref(run->report);
        run->report = json_incref((json_t *)(uintptr_t)event);
        run->reports++;
    }
}

static void deny(const json_t *event, pyexec_result *result)
{
    char what[PX_HOST_NAME_MAX + 32];
    const char *host = json_string_value(json_object_get(event, "host"));
    const char *text = json_string_value(json_object_get(event, "text"));
    int port = (int)json_integer_value(json_object_get(event, "port"));
    if (host && *host)
        snprintf(what, sizeof what, "request to %s:%d", host, port);
    else
        snprintf(what, sizeof what, "request to the proxy");
    if (px_child_result_deny(&result->claims, PX_DENIAL_NETWORK, what, text ? text : "") < 0)
        result->claims.lost = true;
}

static void count_hosts(const json_t *hosts, struct px_counters *counters)
{
    static const char *const verdicts[] = {PX_NETWORK_VERDICTS};
    size_t i;
    json_t *row;
    json_array_foreach(hosts, i, row) {
        const char *verdict = json_string_value(json_object_get(row, "verdict"));
        for (size_t v = 0; verdict && v < PX_COUNT(verdicts); v++)
            if (strcmp(verdict, verdicts[v]) == 0)
                px_count(&counters->network_connections[v],
                         (uint64_t)json_integer_value(json_object_get(row, "connections")));
        px_count(&counters->network_bytes[0], (uint64_t)json_integer_value(json_object_get(row, "sent")));
        px_count(&counters->network_bytes[1], (uint64_t)json_integer_value(json_object_get(row, "received")));
    }
}

void px_proxy_report(struct px_child *child, bool last, pyexec_result *result, struct px_counters *counters)
{
    struct px_proxy_run *run = child->proxy_run;
    if (!run)
        return;
    bool came = px_proxy_ask_report(run, last);
    json_t *denied, *report = NULL;
    pthread_mutex_lock(&run->proxy->lock);
    denied = TAKE_PTR(run->denied);
    run->denied = json_array();
    if (came)
        report = TAKE_PTR(run->report);
    pthread_mutex_unlock(&run->proxy->lock);
    size_t i;
    json_t *event;
    json_array_foreach(denied, i, event)
        deny(event, result);
    count_hosts(json_object_get(report, "hosts"), counters);
    result->network = json_incref(json_object_get(report, "hosts"));
    if (result->network)
        result->network_json = px_json_dumps(result->network, JSON_COMPACT);
    json_decref(denied);
    json_decref(report);
}
