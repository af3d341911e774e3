/* SPDX-License-Identifier: Apache-2.0 */
/* A requirement of a caller is read strictly, and what goes on is our own spelling of it (policy/requirement.h). */
#include "serve/packages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/texts.h"
#include "policy/request.h"
#include "policy/requirement.h"
#include "serve/package_builds.h"
#include "serve/server.h"

#define REQUEST_PACKAGES_MAX 100u
#define ALLOWED_SHOWN ((size_t)300)

/* ---- What is allowed ---- */

static int add_those_of_server(struct px_strings *allowed, const struct px_env_config *env, pyexec_error *error)
{
    for (size_t i = 0; i < env->allow_requests.count; i++)
        if (px_requirement_allow(allowed, env->allow_requests.items[i], error) < 0)
            return -1;
    return 0;
}

int px_packages_check_config(const struct px_env_config *env, pyexec_error *error)
{
    px_auto(px_strings_done) struct px_strings allowed = {0};
    return add_those_of_server(&allowed, env, error);
}

static int read_allowed(struct px_http_request *request, struct px_strings *ret, pyexec_error *error)
{
    struct px_server *server = request->server;
    px_auto_free char *own = px_principals_packages(&server->principals, request->principal);
    if (!own && errno)
        return px_error_oom(error);
    return own ? px_requirement_allow_all(ret, own, error) : add_those_of_server(ret, server->options->env, error);
}

static int refuse(const char *name, const struct px_strings *allowed, pyexec_error *error)
{
    px_auto_buffer struct px_buffer list = {0};
    for (size_t i = 0; i < allowed->count && list.length < ALLOWED_SHOWN; i++)
        px_buffer_printf(&list, "%s%s", i ? ", " : "", allowed->items[i]);
    if (!allowed->count) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "packages: this caller may not ask for packages");
        return px_error_hint(
            error, "Leave packages out; `environment` in the policy chooses what the server has (GET "
                   "/v1/environments). The operator can allow packages with allow_requests in the section [env], or "
                   "in the line of the caller's token.");
    }
    px_error_set(error, PYEXEC_INVALID_REQUEST, "packages: '%.100s' is not among those that this caller may ask for",
                 name);
    return px_error_hint(
        error,
        "It may ask for %s%s. The operator can allow others with allow_requests in the section [env], or in the "
        "line of the caller's token.",
        px_buffer_shown(&list), px_buffer_length(&list) < ALLOWED_SHOWN ? "" : " …");
}

/* ---- The member ---- */

static int bad_list(pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "packages: must be a list of at most %u texts", REQUEST_PACKAGES_MAX);
    return px_error_hint(error, "Send names with or without versions: [\"numpy\", \"pandas>=2\"].");
}

static int check_alone(const json_t *body, pyexec_error *error)
{
    static const char *const policies[] = {"policy", "session_policy", "policy_defaults"};
    for (size_t i = 0; i < PX_COUNT(policies); i++) {
        const json_t *named = json_object_get(json_object_get(body, policies[i]), "environment");
        if (!named || (json_is_string(named) && !json_string_length(named)))
            continue;
        px_error_set(error, PYEXEC_INVALID_REQUEST, "packages: %s names an environment too", policies[i]);
        return px_error_hint(error, "Send one of them: the packages of an environment are fixed.");
    }
    return 0;
}

static int take_list(struct px_http_request *request, const json_t *list, pyexec_error *error)
{
    px_auto(px_strings_done) struct px_strings allowed = {0}, wanted = {0};
    px_auto_buffer struct px_buffer lines = {0};
    const json_t *item;
    size_t i;
    if (read_allowed(request, &allowed, error) < 0)
        return -1;
    json_array_foreach((json_t *)(uintptr_t)list, i, item) {
        px_auto(px_strings_done) struct px_strings named = {0};
        px_auto_buffer struct px_buffer text = {0};
        if (!json_is_string(item))
            return bad_list(error);
        if (px_requirement_parse(json_string_value(item), json_string_length(item), &text, &named, error) < 0)
            return -1;
        for (size_t n = 0; n < named.count; n++)
            if (!px_strings_has(&allowed, named.items[n]))
                return refuse(named.items[n], &allowed, error);
        if (px_strings_add(&wanted, text.data, text.length) < 0)
            return px_error_oom(error);
    }
    qsort(wanted.items, wanted.count, sizeof *wanted.items, px_texts_compare);
    for (i = 0; i < wanted.count; i++)
        px_buffer_printf(&lines, "%s%s", i ? "\n" : "", wanted.items[i]);
    free(request->packages);
    request->packages = px_buffer_take(&lines);
    return request->packages ? 0 : px_error_oom(error);
}

int px_packages_take(struct px_http_request *request, json_t *body, pyexec_error *error)
{
    px_auto_json json_t *list = json_incref(json_object_get(body, "packages"));
    if (!list)
        return 0;
    json_object_del(body, "packages");
    if (!json_is_array(list) || json_array_size(list) > REQUEST_PACKAGES_MAX)
        return bad_list(error);
    if (!json_array_size(list))
        return 0;
    return check_alone(body, error) < 0 ? -1 : take_list(request, list, error);
}

/* ---- The environment ---- */

struct waiting_run {
    struct px_http_request *request;
    const pyexec_request *run; /* NULL: the request makes a session */
};

/* The client is gone, the server ends, or the client has cancelled or interrupted the run. */
static bool is_cancelled(void *closure)
{
    const struct waiting_run *waiting = closure;
    return waiting->request->cancelled || (waiting->run && waiting->run->stop != PX_STOP_NONE);
}

static void give_turn_back(void *closure)
{
    const struct waiting_run *waiting = closure;
    pyexec_turn_pause(waiting->request->job.turn);
}

/* Waits until the environment is there. */
static enum px_build_outcome get_environment(struct px_http_request *request, const pyexec_request *run,
                                             char ret_name[PX_BUILD_NAME_SIZE], pyexec_error *error)
{
    struct waiting_run waiting = {request, run};
    struct px_server *server = request->server;
    const struct px_build_wish wish = {request->packages, is_cancelled, give_turn_back, &waiting};
    int64_t began = px_now_ns();
    enum px_build_outcome outcome = px_builds_get(server->builds, &wish, ret_name, error);
    px_log_packages(&server->log, request, px_build_outcome_names[outcome], ret_name, px_now_ns() - began);
    return outcome;
}

/* Returns the ceiling of this request, which also allows the environment. NULL without memory. */
static json_t *ceiling_with(struct px_http_request *request, const char *name)
{
    px_auto_json json_t *own = px_principals_ceiling(&request->server->principals, request->principal);
    px_auto_json json_t *ceiling = px_json_deep_copy(own);
    const struct px_strings *of_server = &request->server->options->policy->allowed_environments;
    if (!json_object_get(ceiling, "allowed_environments")) {
        json_t *list = json_array();
        for (size_t i = 0; i < of_server->count; i++)
            px_json_append(list, json_string(of_server->items[i]));
        px_json_set(ceiling, "allowed_environments", list);
    }
    px_json_append(json_object_get(ceiling, "allowed_environments"), json_string(name));
    return json_is_array(json_object_get(ceiling, "allowed_environments")) ? TAKE_PTR(ceiling) : NULL;
}

/* Returns the policy with the environment, as a new object. NULL without memory. */
static json_t *policy_with(json_t *policy, const char *name)
{
    px_auto_json json_t *copy = policy ? px_json_copy(policy) : json_object();
    px_json_set(copy, "environment", json_string(name));
    return json_object_get(copy, "environment") ? TAKE_PTR(copy) : NULL;
}

/* For a session, only the call that makes it takes this policy. */
static int choose(struct px_http_request *request, pyexec_request *run, const char *name, pyexec_error *error)
{
    bool session = request->session_key;
    px_auto_json json_t *ceiling = ceiling_with(request, name);
    px_auto_json json_t *keys = json_pack("{s:o}", session ? "session_policy" : "policy",
                                          policy_with(session ? run->session_policy : NULL, name));
    if (!ceiling || !keys)
        return px_error_oom(error);
    pyexec_request_set_ceiling_object(run, ceiling);
    return pyexec_request_set_object(run, keys, error);
}

static void drop_list(pyexec_session_list **list)
{
    pyexec_session_list_free(*list);
}

/* Returns the environment of the request's session, for free(): "" if it has none. NULL: there is no such session. */
static char *environment_of_session(const struct px_http_request *request)
{
    pyexec_error ignored;
    pyexec_session_list *list __attribute__((cleanup(drop_list))) = NULL;
    if (!request->session_key ||
        pyexec_sessions(request->server->executor, request->session_key, &list, &ignored) < 0 ||
        !pyexec_session_list_count(list))
        return NULL;
    return strdup(pyexec_session_info_environment(pyexec_session_list_get(list, 0)));
}

static int refuse_session(const struct px_http_request *request, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "packages: the session '%.128s' was made without them",
                 request->session);
    return px_error_hint(
        error, "A session keeps the packages of its first call. Leave packages out, or use a new session id.");
}

int px_packages_prepare(struct px_http_request *request, pyexec_request *run, pyexec_error *error)
{
    char name[PX_BUILD_NAME_SIZE];
    if (!request->packages)
        return 0;
    px_auto_free char *kept = environment_of_session(request);
    if (kept && px_builds_is_of(request->server->builds, request->packages, kept))
        return 0;
    if (kept)
        return refuse_session(request, error);
    enum px_build_outcome outcome = get_environment(request, run, name, error);
    if (outcome == PX_BUILD_FAILED)
        return -1;
    if (outcome == PX_BUILD_CANCELLED && run->stop == PX_STOP_INTERRUPT) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "packages: the call was interrupted before they were installed");
        return px_error_hint(error, "Send it again. Its code has not run.");
    }
    if (outcome == PX_BUILD_CANCELLED) {
        /* A cancelled run is interrupted, and a short script could end before that, without its packages. So in its place runs one
         * that only waits to be interrupted. */
        static const char wait[] = "while True: pass";
        pyexec_request_cancel(run);
        return pyexec_request_set_code(run, wait, strlen(wait)) < 0 ? px_error_oom(error) : 0;
    }
    return choose(request, run, name, error);
}

int px_packages_prepare_session(struct px_http_request *request, json_t **policy, json_t **ceiling, pyexec_error *error)
{
    char name[PX_BUILD_NAME_SIZE];
    px_auto_free char *kept = environment_of_session(request);
    if (kept) /* nothing is to be made */
        return 0;
    pyexec_turn_pause(request->job.turn); /* a session is made without a turn */
    enum px_build_outcome outcome = get_environment(request, NULL, name, error);
    if (outcome == PX_BUILD_FAILED)
        return -1;
    if (outcome == PX_BUILD_CANCELLED)
        return px_error_set(error, PYEXEC_SHUTTING_DOWN, "the server is shutting down");
    json_t *made = policy_with(*policy, name);
    json_decref(*policy);
    *policy = made;
    json_decref(*ceiling);
    *ceiling = ceiling_with(request, name);
    return *policy && *ceiling ? 0 : px_error_oom(error);
}
