/* SPDX-License-Identifier: Apache-2.0 */
/* The server's state, shared by its files. */
#ifndef PX_SERVE_SERVER_H
#define PX_SERVE_SERVER_H

#include <stdatomic.h>

#include "serve/control.h"
#include "serve/http.h"
#include "serve/log.h"
#include "serve/metrics.h"
#include "serve/package_builds.h"
#include "serve/principal.h"
#include "serve/schedule.h"
#include "serve/state.h"
#include "serve/watch.h"
#include "telemetry/telemetry.h"

#define PX_LISTENERS_MAX 16

/* The rows of a fleet's nodes in /metrics, as of the last request for them. */
struct px_fleet_page {
    pthread_mutex_t lock;
    int64_t made_ns; /* 0: never */
    struct px_buffer nodes;
};

struct px_server {
    const struct px_serve_options *options;
    pyexec_executor *executor;
    struct px_principals principals;
    struct px_schedule *runs;   /* requests that run code */
    struct px_schedule *chores; /* requests for files, lists and similar work */
    struct px_schedule *late;   /* requests that a running script may need to end; accepted while the server drains */
    struct px_detached_table *detached;
    struct px_controls *controls; /* runs that their clients control */
    struct px_calls *calls;       /* tool calls of scripts that wait for an answer */
    struct px_watcher *watcher;
    struct px_crew *crew;     /* the threads of all listeners */
    struct px_state *state;   /* NULL: nothing is kept for a restart */
    struct px_builds *builds; /* environments for the packages of requests */
    struct px_mcp *mcp;
    struct px_mcp_servers *mcp_servers; /* NULL: none */
    unsigned dialects;                  /* bits of the enabled dialects */
    struct px_contexts *contexts;       /* E2B's code contexts */
    struct px_telemetry *telemetry;     /* NULL: no traces are sent */
    struct px_metrics metrics;
    struct px_fleet_page fleet_page;
    struct px_log log;
    struct px_listener listeners[PX_LISTENERS_MAX];
    size_t listener_count;
    _Atomic bool draining;
    _Atomic long spools;       /* temporary files that hold archives */
    _Atomic long bodies_bytes; /* bytes reserved for the bodies of requests */
    _Atomic long in_progress;  /* requests that have begun and are not completed */
    char *openapi;             /* the OpenAPI document, made when the server starts */
};

/* The route table (api.c). */
extern const struct px_route px_routes[];
extern const size_t px_route_count;

#endif
