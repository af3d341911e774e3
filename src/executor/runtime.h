/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of pyexec_executor, which sessions and single runs stand on: one launcher, the zygotes of each kind in use,
 * and the turns. It knows nothing of either. */
#ifndef PX_EXECUTOR_RUNTIME_H
#define PX_EXECUTOR_RUNTIME_H

#include <pthread.h>

#include "executor/turns.h"
#include "executor/zygote_kinds.h"
#include "policy/config.h"
#include "policy/request.h"
#include "policy/secrets.h"
#include "runner/counters.h"
#include "runner/launcher.h"
#include "runner/proxy.h"
#include "runner/run.h"

struct px_sessions;

/* pyexec_executor_set_tracing() */
struct px_tracing {
    pyexec_spans_fn fn; /* NULL: no execution is traced */
    void *userdata;
    unsigned flags;
    struct px_trace_sampler sampler;
};

struct pyexec_executor {
    struct px_policy policy;
    struct px_host host;
    struct px_session_config session_config;
    struct px_egress_config egress_config;
    struct px_secret_sources secrets;
    struct px_env_config env_config;
    struct px_environments *environments;
    bool principals; /* session ids are "PRINCIPAL/ID" */
    px_layers allow_missing;
    px_layers missing; /* layers that are missing for the first kind of zygotes */
    long processors;
    char *policy_json, *missing_json, *info_json;
    char python_text[96]; /* "3.11.2 (main, …)" */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closing;
    struct px_launcher *launcher;
    struct px_launcher_options ids;
    struct px_kinds kinds;
    pthread_mutex_t start_lock; /* held while a launcher or the proxy is started */
    struct px_proxy *proxy;     /* made when the first kind with allowed_hosts is started; then it does not change */
    struct px_turns turns;
    struct px_sessions *sessions; /* session.c makes them at the first use */
    struct px_counters counters;
    struct px_tracing tracing;
};

/* A job of a server, which has a turn once pyexec_queue_next() has returned it. */
struct pyexec_turn {
    struct px_turn_job job; /* first */
    void *userdata;
    char session[]; /* the id, when it has one */
};

/* Takes a turn and returns it: the turn that was set for the request (taken again if it was given back), or else `own`. Give it back with
 * px_runtime_leave(). NULL with an error. */
struct px_turn *px_runtime_admit(pyexec_executor *executor, const pyexec_request *request, struct px_turn *own,
                                 pyexec_error *error);
/* Gives back `own` if it is taken. A turn that came with the request still belongs to its owner. */
void px_runtime_leave(struct px_turn *own);

bool px_runtime_closing(pyexec_executor *executor);

/* The names of the secrets that the request's caller may use (NULL: all), for px_run_context. */
const char *px_runtime_secrets(const pyexec_executor *executor, const pyexec_request *request);

/* Checks what a request asks for against its policy. */
int px_runtime_check(const pyexec_request *request, const struct px_policy *policy, pyexec_error *error);
int px_runtime_check_limits(const struct px_policy *policy, const struct px_zygotes *zygotes, pyexec_error *error);

/* Gets the kind of zygotes for this policy, which stays until it is released. Starts what has died. */
int px_runtime_acquire(pyexec_executor *executor, const struct px_policy *policy, struct px_zygote_group **ret,
                       pyexec_error *error);
/* Takes the kind of another session, also when its launcher has died: a branch has that of its source. px_runtime_acquire() would wait
 * until the source has released it. */
void px_runtime_share(pyexec_executor *executor, struct px_zygote_group *kind);
void px_runtime_release(pyexec_executor *executor, struct px_zygote_group *kind);

/* What a run of this kind has, without a pool and without tools: the caller adds what differs. */
struct px_run_context px_runtime_context(pyexec_executor *executor, const struct px_zygote_group *kind,
                                         const struct px_policy *policy, pyexec_request *request, struct px_turn *turn);
/* Ends the launcher and all zygotes. No run may use them. Afterwards another launcher may be started. */
void px_runtime_end(pyexec_executor *executor);

/* pyexec_execute_once(), without spans (executor.c). */
int px_execute_once(pyexec_executor *executor, pyexec_request *request, pyexec_result **ret, pyexec_error *error);

/* After a failed import: sets the hint to the environments with that module, among those that the caller may choose. */
void px_environments_explain(pyexec_executor *executor, const pyexec_request *request, const struct px_policy *policy,
                             pyexec_result *result);

/* Counts an execution that has ended. */
void px_runtime_count(pyexec_executor *executor, const pyexec_result *result);

/* The layers that [host] allow_missing names. */
px_layers px_runtime_allowed(const struct px_host *host);

/* Makes an object from text; NULL for NULL. `what` names it in invalid_policy. */
int px_runtime_load_json(const char *text, const char *what, json_t **ret, pyexec_error *error);

/* The ids for a launcher that root starts. invalid_policy for a bad uid_range. */
int px_runtime_ids(const struct px_host *host, const char *python, px_layers allow_missing,
                   struct px_launcher_options *ret, pyexec_error *error);

#endif
