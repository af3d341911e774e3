/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/e2b_sandbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "serve/route.h"
#include "serve/server.h"

#define SANDBOX_HEADER "E2b-Sandbox-Id"
#define SANDBOX_ID_MAX 64u
#define SANDBOX_PREFIX "sandbox-" /* begins the ids that this server makes; they end with kill() */
#define SANDBOX_SEPARATOR ':'     /* never part of a sandbox's or a context's id */
#define TIMEOUT_MAX_SECONDS 86400 /* E2B has the same limit */
#define CONTEXTS_MAX 1000u        /* for each principal; when there are more, the least recently used one is dropped */

/* A context, or a sandbox that has a timeout or that this server made (without `cwd`). */
struct e2b_entry {
    struct e2b_entry *next;
    const struct px_principal *principal;
    char *id, *cwd;
    char *environment; /* of a sandbox: the environment of its contexts, or NULL */
    int64_t ends_ns;   /* when a sandbox's timeout ends it; 0: no timeout */
};

struct px_contexts {
    pyexec_executor *executor;
    pthread_mutex_t lock;
    struct e2b_entry *contexts, *sandboxes; /* the most recently used ones are first */
    pthread_t timer;                        /* thread that ends sandboxes at their timeout */
    pthread_cond_t changed;
    bool ending;
};

/* ---- Lists ---- */

static void entry_free(struct e2b_entry *entry)
{
    if (!entry)
        return;
    free(entry->id);
    free(entry->cwd);
    free(entry->environment);
    free(entry);
}

static void list_free(struct e2b_entry *list)
{
    while (list) {
        struct e2b_entry *next = list->next;
        entry_free(list);
        list = next;
    }
}

/* The caller holds the lock. */
static void list_add(struct e2b_entry **list, struct e2b_entry *entry)
{
    entry->next = *list;
    *list = entry;
    size_t count = 0;
    for (struct e2b_entry **at = list; *at;) {
        struct e2b_entry *one = *at;
        if (one->principal != entry->principal || ++count <= CONTEXTS_MAX) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        entry_free(one);
    }
}

/* Removes and returns the first entry whose id begins with the first `length` bytes of `id`. When `length`
 * includes the NUL of `id`, the whole id must be equal. Returns NULL when there is none. The caller holds the
 * lock. */
static struct e2b_entry *list_take(struct e2b_entry **list, const struct px_principal *principal, const char *id,
                                   size_t length)
{
    struct e2b_entry **at = list;
    while (*at && ((*at)->principal != principal || strncmp((*at)->id, id, length) != 0))
        at = &(*at)->next;
    struct e2b_entry *found = *at;
    if (found)
        *at = found->next;
    return found;
}

static struct e2b_entry *entry_new(const struct px_principal *principal, char *id, const char *cwd)
{
    struct e2b_entry *entry = calloc(1, sizeof *entry);
    if (entry)
        *entry = (struct e2b_entry){.principal = principal, .id = id, .cwd = cwd ? strdup(cwd) : NULL};
    else
        free(id);
    if (entry && entry->id && (entry->cwd || !cwd))
        return entry;
    entry_free(entry);
    return NULL;
}

/* ---- Answers ---- */

void px_e2b_answer_text(struct px_http_request *request, int status, const char *text)
{
    px_respond_text(request, status, "text/plain; charset=utf-8", text, strlen(text));
}

void px_e2b_refuse(struct px_http_request *request, const char *text)
{
    request->outcome = "invalid_request";
    px_e2b_answer_text(request, MHD_HTTP_BAD_REQUEST, text);
}

void px_e2b_answer_unknown(struct px_http_request *request, const char *context)
{
    char text[320];
    bool restarted = request->session_key && px_state_was_restarted(request->server->state, request->session_key);
    snprintf(text, sizeof text, "Context %.200s not found%s", context,
             restarted ? ": the server was restarted (host_restart)" : "");
    request->outcome = "session_not_found";
    px_e2b_answer_text(request, MHD_HTTP_NOT_FOUND, text);
}

void px_e2b_answer_failure(struct px_http_request *request, const pyexec_error *error)
{
    char text[sizeof error->message + sizeof error->hint + 2];
    if (px_dialect_failed(request, error))
        return;
    snprintf(text, sizeof text, "%s. %s", error->message, error->hint);
    px_e2b_answer_text(request, px_status_of(error), text);
}

/* Answers as E2B's API does. Takes ownership of `object`. */
static void answer_object(struct px_http_request *request, int status, json_t *object)
{
    px_respond_json(request, status, px_json_take_text(object));
}

static void answer_api_error(struct px_http_request *request, int status, const char *text)
{
    request->outcome = status == MHD_HTTP_NOT_FOUND ? "session_not_found" : "invalid_request";
    answer_object(request, status, json_pack("{s:i, s:s}", "code", status, "message", text));
}

/* ---- Which sandbox, and which context ---- */

static bool is_sandbox_id(const char *id)
{
    static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t length = strspn(id, characters);
    return length && length <= SANDBOX_ID_MAX && !id[length];
}

/* A client may choose any name for a sandbox. But an id that this server made is known only until kill(). */
static bool sandbox_lives(struct px_http_request *request, const char *sandbox)
{
    struct px_contexts *contexts = request->server->contexts;
    if (strncmp(sandbox, SANDBOX_PREFIX, strlen(SANDBOX_PREFIX)) != 0)
        return true;
    pthread_mutex_lock(&contexts->lock);
    struct e2b_entry *found = list_take(&contexts->sandboxes, request->principal, sandbox, strlen(sandbox) + 1);
    if (found)
        list_add(&contexts->sandboxes, found);
    free(request->environment);
    request->environment = found && found->environment ? strdup(found->environment) : NULL;
    pthread_mutex_unlock(&contexts->lock);
    return found;
}

/* A sandbox from before a restart of the server is recognised by the session that its files and commands used. */
static void answer_no_sandbox(struct px_http_request *request, const char *sandbox)
{
    px_auto_free char *key = NULL;
    char text[200];
    bool restarted = asprintf(&key, "%s/%s:" PX_E2B_DEFAULT, request->principal->name, sandbox) >= 0 &&
                     px_state_was_restarted(request->server->state, key);
    snprintf(text, sizeof text, "Sandbox %s not found: %s", sandbox,
             restarted ? "the server was restarted, and its content is lost (host_restart)"
                       : "it was killed, its timeout is over, or the server was restarted");
    request->outcome = "session_not_found";
    px_e2b_answer_text(request, MHD_HTTP_NOT_FOUND, text);
}

/* Returns false when the request has been answered. *ret_sandbox is "" for the sandbox without a name. */
static bool find_sandbox(struct px_http_request *request, const char **ret_sandbox)
{
    const char *sandbox = px_http_request_header(request, SANDBOX_HEADER);
    *ret_sandbox = sandbox ? sandbox : "";
    if (!**ret_sandbox)
        return true;
    if (!is_sandbox_id(sandbox)) {
        px_e2b_refuse(request, SANDBOX_HEADER " is not 1 to 64 of A-Z a-z 0-9 _ -");
        return false;
    }
    if (sandbox_lives(request, sandbox))
        return true;
    answer_no_sandbox(request, sandbox);
    return false;
}

static char *session_name(const char *sandbox, const char *context)
{
    char *name = NULL;
    return asprintf(&name, "%s%s%s", sandbox, *sandbox ? ":" : "", context) < 0 ? NULL : name;
}

/* Takes ownership of `name`. Returns -1 when it is not a valid name of a session. */
static int set_session(struct px_http_request *request, char *name)
{
    free(request->session);
    free(TAKE_PTR(request->session_key));
    request->session = name;
    return name ? px_route_session(request) : -1;
}

bool px_e2b_enter(struct px_http_request *request, const char *context)
{
    const char *sandbox;
    if (!find_sandbox(request, &sandbox))
        return false;
    px_auto_free char *id = strdup(context); /* a copy, because it may point into the request's session */
    if (id && !strchr(id, SANDBOX_SEPARATOR) && set_session(request, session_name(sandbox, id)) == 0)
        return true;
    px_e2b_answer_unknown(request, id ? id : "");
    return false;
}

const char *px_e2b_context_id(const char *session)
{
    const char *separator = strchr(session, SANDBOX_SEPARATOR);
    return separator ? separator + 1 : session;
}

/* ---- Contexts ---- */

/* Returns true if it was in the list. */
static bool forget(struct px_http_request *request, struct e2b_entry **list, const char *id, size_t length)
{
    struct px_contexts *contexts = request->server->contexts;
    pthread_mutex_lock(&contexts->lock);
    struct e2b_entry *entry = list_take(list, request->principal, id, length);
    pthread_mutex_unlock(&contexts->lock);
    entry_free(entry);
    return entry;
}

char *px_e2b_use_context(struct px_http_request *request)
{
    struct px_contexts *contexts = request->server->contexts;
    if (strcmp(px_e2b_context_id(request->session), PX_E2B_DEFAULT) == 0)
        return strdup(PX_E2B_HOME);
    pthread_mutex_lock(&contexts->lock);
    struct e2b_entry *found =
        list_take(&contexts->contexts, request->principal, request->session, strlen(request->session) + 1);
    char *cwd = found ? strdup(found->cwd) : NULL;
    if (found)
        list_add(&contexts->contexts, found);
    pthread_mutex_unlock(&contexts->lock);
    return cwd;
}

int px_e2b_add_context(struct px_http_request *request, const char *cwd, pyexec_error *error)
{
    struct px_contexts *contexts = request->server->contexts;
    size_t length = (size_t)(px_e2b_context_id(request->session) - request->session);
    px_auto_free char *id = px_random_name("e2b-"), *name = NULL;
    if (!id || asprintf(&name, "%.*s%s", (int)length, request->session, id) < 0)
        return px_error_oom(error);
    struct e2b_entry *entry = entry_new(request->principal, strdup(name), cwd);
    if (!entry || set_session(request, TAKE_PTR(name)) < 0) {
        entry_free(entry);
        return px_error_oom(error);
    }
    pthread_mutex_lock(&contexts->lock);
    list_add(&contexts->contexts, entry);
    pthread_mutex_unlock(&contexts->lock);
    return 0;
}

bool px_e2b_forget_context(struct px_http_request *request)
{
    struct px_contexts *contexts = request->server->contexts;
    bool found = forget(request, &contexts->contexts, request->session, strlen(request->session) + 1);
    return found || strcmp(px_e2b_context_id(request->session), PX_E2B_DEFAULT) == 0;
}

json_t *px_e2b_describe(const char *id, const char *cwd)
{
    return json_pack("{s:s, s:s, s:s}", "id", id, "language", "python", "cwd", cwd);
}

json_t *px_e2b_contexts(struct px_http_request *request)
{
    struct px_contexts *contexts = request->server->contexts;
    size_t length = (size_t)(px_e2b_context_id(request->session) - request->session);
    json_t *list = json_array();
    px_json_append(list, px_e2b_describe(PX_E2B_DEFAULT, PX_E2B_HOME));
    pthread_mutex_lock(&contexts->lock);
    for (const struct e2b_entry *at = contexts->contexts; at; at = at->next) {
        bool named = px_e2b_context_id(at->id) - at->id == (ptrdiff_t)length;
        if (at->principal == request->principal && named && strncmp(at->id, request->session, length) == 0)
            px_json_append(list, px_e2b_describe(at->id + length, at->cwd));
    }
    pthread_mutex_unlock(&contexts->lock);
    return list;
}

/* ---- The end of a sandbox ---- */

/* The session may not have begun yet, or may have ended. Returns true if this call ended it. */
static bool end_session(pyexec_executor *executor, const struct px_principal *principal, const char *name)
{
    pyexec_error error;
    px_auto_free char *key = NULL;
    return asprintf(&key, "%s/%s", principal->name, name) >= 0 && pyexec_session_close(executor, key, &error) == 0;
}

/* Ends the sandbox's sessions. Sessions of contexts that are no longer in the list end by their TTL. Returns true
 * if there was a session or a context. */
static bool end_sandbox(struct px_contexts *contexts, const struct px_principal *principal, const char *id)
{
    px_auto_free char *prefix = session_name(id, ""), *first = session_name(id, PX_E2B_DEFAULT);
    bool found = first && end_session(contexts->executor, principal, first);
    for (struct e2b_entry *context = NULL; prefix; entry_free(context)) {
        pthread_mutex_lock(&contexts->lock);
        context = list_take(&contexts->contexts, principal, prefix, strlen(prefix));
        pthread_mutex_unlock(&contexts->lock);
        if (!context)
            break;
        found = true;
        end_session(contexts->executor, principal, context->id);
    }
    return found;
}

/* Returns the sandbox whose timeout ends first, or NULL. The caller holds the lock. */
static struct e2b_entry *find_next_end(struct px_contexts *contexts)
{
    struct e2b_entry *next = NULL;
    for (struct e2b_entry *at = contexts->sandboxes; at; at = at->next)
        if (at->ends_ns && (!next || at->ends_ns < next->ends_ns))
            next = at;
    return next;
}

static void *end_sandboxes(void *argument)
{
    struct px_contexts *contexts = argument;
    pthread_mutex_lock(&contexts->lock);
    while (!contexts->ending) {
        struct e2b_entry *next = find_next_end(contexts);
        if (!next) {
            pthread_cond_wait(&contexts->changed, &contexts->lock);
        } else if (next->ends_ns > px_now_ns()) {
            px_cond_wait_until(&contexts->changed, &contexts->lock, next->ends_ns);
        } else {
            list_take(&contexts->sandboxes, next->principal, next->id, strlen(next->id) + 1);
            pthread_mutex_unlock(&contexts->lock);
            end_sandbox(contexts, next->principal, next->id);
            entry_free(next);
            pthread_mutex_lock(&contexts->lock);
        }
    }
    pthread_mutex_unlock(&contexts->lock);
    return NULL;
}

static void release(struct px_contexts *contexts)
{
    list_free(contexts->contexts);
    list_free(contexts->sandboxes);
    pthread_cond_destroy(&contexts->changed);
    pthread_mutex_destroy(&contexts->lock);
    free(contexts);
}

int px_contexts_new(pyexec_executor *executor, struct px_contexts **ret, pyexec_error *error)
{
    struct px_contexts *contexts = calloc(1, sizeof *contexts);
    if (!contexts)
        return px_error_oom(error);
    contexts->executor = executor;
    pthread_mutex_init(&contexts->lock, NULL);
    px_cond_init(&contexts->changed);
    int failed = px_thread_create(&contexts->timer, end_sandboxes, contexts);
    if (failed) {
        release(contexts);
        return px_error_exhausted(error, failed, "can't start a thread");
    }
    *ret = contexts;
    return 0;
}

void px_contexts_free(struct px_contexts *contexts)
{
    if (!contexts)
        return;
    pthread_mutex_lock(&contexts->lock);
    contexts->ending = true;
    pthread_cond_broadcast(&contexts->changed);
    pthread_mutex_unlock(&contexts->lock);
    pthread_join(contexts->timer, NULL);
    release(contexts);
}

/* ---- E2B's API: making a sandbox, setting its timeout, ending it ---- */

/* Returns the token that this request came with. Clients send it with each later request to the sandbox. */
static json_t *own_token(struct px_http_request *request)
{
    const char *key = request->server->principals.path ? px_http_request_header(request, "X-Api-Key") : NULL;
    return key ? json_string(key) : json_null();
}

static void describe_sandbox(struct px_http_request *request, int status, const char *id)
{
    answer_object(request, status,
                  json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "templateID", "pyexec", "sandboxID", id, "clientID",
                            "pyexec", "envdVersion", "0.6.0", "envdAccessToken", own_token(request),
                            "trafficAccessToken", own_token(request)));
}

/* Reads the timeout of the body. *ret_ends_ns is 0 when there is none. Returns false when the request has been
 * answered. */
static bool read_timeout(struct px_http_request *request, bool needed, int64_t *ret_ends_ns)
{
    pyexec_error error;
    if ((needed || request->body.length) && !px_dialect_body(request, &error)) {
        answer_api_error(request, MHD_HTTP_BAD_REQUEST, error.message);
        return false;
    }
    const json_t *timeout = json_object_get(request->json, "timeout");
    json_int_t seconds = json_integer_value(timeout);
    bool given = timeout && !json_is_null(timeout);
    if ((given || needed) && (!json_is_integer(timeout) || seconds < 0 || seconds > TIMEOUT_MAX_SECONDS)) {
        answer_api_error(request, MHD_HTTP_BAD_REQUEST, "timeout is not a whole number of seconds from 0 to 86400");
        return false;
    }
    *ret_ends_ns = given ? px_now_ns() + seconds * 1000 * PX_NS_PER_MS : 0;
    return true;
}

/* Sets when the sandbox ends. A sandbox that its client named enters the list here. Returns -1 when there is no
 * memory. */
static int set_end(struct px_http_request *request, int64_t ends_ns, bool only_later)
{
    struct px_contexts *contexts = request->server->contexts;
    const char *id = request->session;
    pthread_mutex_lock(&contexts->lock);
    struct e2b_entry *entry = list_take(&contexts->sandboxes, request->principal, id, strlen(id) + 1);
    bool is_new = !entry;
    if (is_new)
        entry = entry_new(request->principal, strdup(id), NULL);
    if (entry && (!only_later || is_new || (entry->ends_ns && ends_ns > entry->ends_ns)))
        entry->ends_ns = ends_ns;
    if (entry)
        list_add(&contexts->sandboxes, entry);
    pthread_cond_broadcast(&contexts->changed);
    pthread_mutex_unlock(&contexts->lock);
    return entry ? 0 : -1;
}

/* A template with the name of an environment chooses it. Names of E2B's own templates choose nothing. Returns NULL for none. */
static char *find_template(struct px_http_request *request)
{
    pyexec_error ignored;
    const char *template = json_string_value(json_object_get(request->json, "templateID"));
    px_auto_json json_t *ceiling = px_principals_ceiling(&request->server->principals, request->principal);
    px_auto_json json_t *list = NULL;
    json_t *item;
    size_t i;
    if (!template || pyexec_environments_object(request->server->executor, ceiling, &list, &ignored) < 0)
        return NULL;
    json_array_foreach(list, i, item)
        if (strcmp(json_string_value(json_object_get(item, "name")), template) == 0)
            return strdup(template);
    return NULL;
}

void px_e2b_sandbox_create(struct px_http_request *request)
{
    struct px_contexts *contexts = request->server->contexts;
    pyexec_error error;
    int64_t ends_ns;
    if (!read_timeout(request, false, &ends_ns))
        return;
    if (json_object_size(json_object_get(request->json, "envVars"))) {
        answer_api_error(request, MHD_HTTP_BAD_REQUEST,
                         "a sandbox has no environment variables here: give envs to run_code and commands.run");
        return;
    }
    if (request->server->draining) {
        px_error_set(&error, PYEXEC_SHUTTING_DOWN, "the server is shutting down");
        px_respond_error(request, &error);
        return;
    }
    char *id = px_random_name(SANDBOX_PREFIX);
    struct e2b_entry *entry = entry_new(request->principal, id, NULL);
    px_auto_free char *copy = entry ? strdup(entry->id) : NULL;
    if (!copy) {
        entry_free(entry);
        px_error_oom(&error);
        px_respond_error(request, &error);
        return;
    }
    entry->ends_ns = ends_ns;
    entry->environment = find_template(request);
    pthread_mutex_lock(&contexts->lock);
    list_add(&contexts->sandboxes, entry);
    pthread_cond_broadcast(&contexts->changed);
    pthread_mutex_unlock(&contexts->lock);
    describe_sandbox(request, MHD_HTTP_CREATED, copy);
}

/* Returns false when the request has been answered. */
static bool find_named(struct px_http_request *request)
{
    if (is_sandbox_id(request->session) && sandbox_lives(request, request->session))
        return true;
    answer_api_error(request, MHD_HTTP_NOT_FOUND, "there is no such sandbox");
    return false;
}

static void answer_no_memory(struct px_http_request *request)
{
    pyexec_error error;
    px_error_oom(&error);
    px_respond_error(request, &error);
}

/* As on E2B's server, a timeout makes the sandbox live longer, never shorter. */
void px_e2b_sandbox_connect(struct px_http_request *request)
{
    int64_t ends_ns;
    if (!find_named(request) || !read_timeout(request, false, &ends_ns))
        return;
    if (ends_ns && set_end(request, ends_ns, true) < 0)
        answer_no_memory(request);
    else
        describe_sandbox(request, MHD_HTTP_OK, request->session);
}

void px_e2b_sandbox_timeout(struct px_http_request *request)
{
    int64_t ends_ns;
    if (!find_named(request) || !read_timeout(request, true, &ends_ns))
        return;
    if (set_end(request, ends_ns, false) < 0)
        answer_no_memory(request);
    else
        px_respond_empty(request, MHD_HTTP_NO_CONTENT);
}

void px_e2b_sandbox_kill(struct px_http_request *request)
{
    struct px_contexts *contexts = request->server->contexts;
    const char *id = request->session;
    bool found = is_sandbox_id(id) && forget(request, &contexts->sandboxes, id, strlen(id) + 1);
    if (is_sandbox_id(id))
        found |= end_sandbox(contexts, request->principal, id);
    if (found)
        px_respond_empty(request, MHD_HTTP_NO_CONTENT);
    else
        answer_api_error(request, MHD_HTTP_NOT_FOUND, "there is no such sandbox");
}
