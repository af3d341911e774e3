/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/request.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/paths.h"
#include "base/utf8.h"
#include "policy/inputs.h"
#include "protocol/launch.h"
#include "protocol/wire.h"

#define REQUEST_ENV_MAX_BYTES 65536u
#define RETURN_FILES_MAX 1000u /* each pattern is compared with each changed file */

pyexec_request *pyexec_request_new(void)
{
    pyexec_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->input_fd = -1;
    request->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (request->wake < 0) {
        free(request);
        return NULL;
    }
    return request;
}

void pyexec_request_free(pyexec_request *request)
{
    if (!request)
        return;
    px_tools_free(request->tools);
    px_tools_free(request->session_tools);
    free(request->code);
    json_decref(request->ceiling);
    json_decref(request->policy);
    json_decref(request->session_policy);
    json_decref(request->policy_defaults);
    free(request->secrets);
    free(request->working_dir);
    free(request->workspace);
    free(request->workspace_path);
    px_strings_done(&request->env);
    free(request->bad_env);
    free(request->input);
    for (size_t i = 0; i < request->file_count; i++) {
        free(request->files[i].path);
        free(request->files[i].bytes);
    }
    free(request->files);
    px_strings_done(&request->return_files);
    json_decref(request->inputs);
    free(request->inputs_text);
    free(request->tracestate);
    free(request->span.name);
    json_decref(request->span.attributes);
    free(request->message.name);
    json_decref(request->message.attributes);
    close(request->wake);
    free(request);
}

/* A copy of any bytes, with a NUL at its end. */
static char *copy_bytes(const void *bytes, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy) {
        if (length)
            memcpy(copy, bytes, length);
        copy[length] = '\0';
    }
    return copy;
}

static int replace(char **slot, size_t *ret_length, const void *bytes, size_t length)
{
    char *copy = copy_bytes(bytes, length);
    if (!copy)
        return -1;
    free(*slot);
    *slot = copy;
    if (ret_length)
        *ret_length = length;
    return 0;
}

int pyexec_request_set_code(pyexec_request *request, const char *code, size_t length)
{
    return replace(&request->code, &request->code_length, code, length);
}

/* Takes ownership of the value. */
static int replace_object(json_t **slot, json_t *object)
{
    if (!json_is_object(object)) {
        json_decref(object);
        return -1;
    }
    json_decref(*slot);
    *slot = object;
    return 0;
}

int pyexec_request_set_policy(pyexec_request *request, const char *policy_json)
{
    return replace_object(&request->policy, px_json_loads(policy_json, JSON_REJECT_DUPLICATES, NULL));
}

int pyexec_request_set_policy_object(pyexec_request *request, json_t *policy)
{
    return replace_object(&request->policy, px_json_copy(policy));
}

int pyexec_request_set_ceiling(pyexec_request *request, const char *policy_json)
{
    return replace_object(&request->ceiling, px_json_loads(policy_json, JSON_REJECT_DUPLICATES, NULL));
}

void pyexec_request_set_ceiling_object(pyexec_request *request, json_t *policy)
{
    json_decref(request->ceiling);
    request->ceiling = json_incref(policy);
}

int pyexec_request_set_secrets(pyexec_request *request, const char *names)
{
    free(request->secrets);
    request->secrets = names ? strdup(names) : NULL;
    return names && !request->secrets ? -1 : 0;
}

int pyexec_request_set_working_dir(pyexec_request *request, const char *path)
{
    return replace(&request->working_dir, NULL, path, strlen(path));
}

int pyexec_request_set_workspace(pyexec_request *request, const char *path)
{
    return replace(&request->workspace, NULL, path, strlen(path));
}

int pyexec_request_set_workspace_path(pyexec_request *request, const char *path)
{
    return replace(&request->workspace_path, NULL, path, strlen(path));
}

int pyexec_request_set_env(pyexec_request *request, const char *name, const char *value)
{
    size_t length = strlen(name);
    /* The error is reported when the request is executed, because that call can return one. */
    if (!length || strchr(name, '='))
        return replace(&request->bad_env, NULL, name, length);
    /* When the variables are larger than this, the execution refuses the request. So the search for the name,
     * which would take too long, is skipped. */
    if (request->env_bytes > REQUEST_ENV_MAX_BYTES)
        return 0;
    for (size_t i = 0; i < request->env.count; i++) {
        char *item = request->env.items[i];
        if (strncmp(item, name, length) != 0 || item[length] != '=')
            continue;
        request->env_bytes -= strlen(item) + 1;
        free(item);
        memmove(&request->env.items[i], &request->env.items[i + 1], (--request->env.count - i) * sizeof(char *));
        break;
    }
    struct px_buffer px_auto_buffer pair = {0};
    px_buffer_printf(&pair, "%s=%s", name, value);
    request->env_bytes += pair.length + 1;
    return px_buffer_ok(&pair) ? px_strings_add(&request->env, pair.data, pair.length) : -1;
}

int pyexec_request_set_traceparent(pyexec_request *request, const char *traceparent, const char *tracestate)
{
    free(TAKE_PTR(request->tracestate));
    if (!px_trace_context_parse(traceparent, &request->parent))
        return traceparent ? -1 : 0;
    if (tracestate && px_trace_state_is_valid(tracestate))
        request->tracestate = strdup(tracestate);
    return 0;
}

int pyexec_request_set_span_object(pyexec_request *request, const char *name, int kind, const char *span_id,
                                   json_t *attributes)
{
    struct px_request_span *span = &request->span;
    struct px_trace_context ignored;
    char text[PX_TRACEPARENT_SIZE];
    snprintf(text, sizeof text, "00-00000000000000000000000000000001-%.16s-00", span_id ? span_id : "");
    if ((kind != PYEXEC_SPAN_INTERNAL && kind != PYEXEC_SPAN_SERVER) ||
        (span_id && (strlen(span_id) != 16 || !px_trace_context_parse(text, &ignored))) ||
        (attributes && !json_is_object(attributes)) || (name && replace(&span->name, NULL, name, strlen(name)) < 0))
        return -1;
    span->kind = kind;
    snprintf(span->id, sizeof span->id, "%s", span_id ? span_id : "");
    json_decref(span->attributes);
    span->attributes = json_incref(attributes);
    return 0;
}

int pyexec_request_set_message_object(pyexec_request *request, const char *name, int64_t arrived_ns, json_t *attributes)
{
    struct px_request_message *message = &request->message;
    if (!json_is_object(attributes) || replace(&message->name, NULL, name, strlen(name)) < 0)
        return -1;
    message->arrived_ns = arrived_ns;
    json_decref(message->attributes);
    message->attributes = json_incref(attributes);
    return 0;
}

int pyexec_request_set_span(pyexec_request *request, const char *name, int kind, const char *span_id,
                            const char *attributes_json)
{
    px_auto_json json_t *attributes = px_json_loads(attributes_json, JSON_REJECT_DUPLICATES, NULL);
    return attributes_json && !attributes ? -1
                                          : pyexec_request_set_span_object(request, name, kind, span_id, attributes);
}

int pyexec_request_set_stdin(pyexec_request *request, const void *bytes, size_t length)
{
    request->input_fd = -1;
    return replace(&request->input, &request->input_length, bytes, length);
}

int pyexec_request_set_stdin_fd(pyexec_request *request, int fd)
{
    request->input_fd = fd;
    return 0;
}

int pyexec_request_add_file(pyexec_request *request, const char *path, const void *bytes, size_t length)
{
    struct px_request_file *files = realloc(request->files, (request->file_count + 1) * sizeof *files);
    if (!files)
        return -1;
    request->files = files;
    struct px_request_file file = {strdup(path), copy_bytes(bytes, length), length};
    if (!file.path || !file.bytes) {
        free(file.path);
        free(file.bytes);
        return -1;
    }
    files[request->file_count++] = file;
    return 0;
}

int pyexec_request_add_return_file(pyexec_request *request, const char *pattern)
{
    return px_strings_add(&request->return_files, pattern, strlen(pattern));
}

void pyexec_request_set_output(pyexec_request *request, pyexec_output_fn fn, void *userdata)
{
    request->output = fn;
    request->output_data = userdata;
}

void pyexec_request_set_display(pyexec_request *request, pyexec_display_fn fn, void *userdata)
{
    request->display = fn;
    request->display_data = userdata;
}

void pyexec_request_set_display_object(pyexec_request *request, pyexec_display_object_fn fn, void *userdata)
{
    request->display_object = fn;
    request->display_object_data = userdata;
}

int px_request_show(const pyexec_request *request, const pyexec_display *display, const struct px_buffer *json)
{
    int stop = request->display_object ? request->display_object(request->display_object_data, display) : 0;
    return request->display ? stop | request->display(request->display_data, px_buffer_string(json), json->length)
                            : stop;
}

void pyexec_request_set_arrived(pyexec_request *request, pyexec_arrived_fn fn, void *userdata)
{
    request->arrived = fn;
    request->arrived_data = userdata;
}

void pyexec_request_set_turn(pyexec_request *request, pyexec_turn *turn)
{
    request->turn = turn;
}

void pyexec_request_set_silent(pyexec_request *request, int silent)
{
    request->silent = silent;
}

void pyexec_request_set_checkpoint(pyexec_request *request, int checkpoint)
{
    request->checkpoint = checkpoint ? PX_CHECKPOINT_YES : PX_CHECKPOINT_NO;
}

int pyexec_request_was_sent(const pyexec_request *request)
{
    return request->sent;
}

static void stop(pyexec_request *request, enum px_stop how)
{
    int before = atomic_load(&request->stop);
    while (before < (int)how && !atomic_compare_exchange_weak(&request->stop, &before, (int)how))
        ;
    px_wake(request->wake);
}

void pyexec_request_interrupt(pyexec_request *request)
{
    stop(request, PX_STOP_INTERRUPT);
}

void pyexec_request_cancel(pyexec_request *request)
{
    stop(request, PX_STOP_CANCEL);
}

void pyexec_request_restrict(pyexec_request *request, unsigned what)
{
    request->restricted |= what;
}

int px_request_check_path(const char *path, const char *what, pyexec_error *error)
{
    if (path[0] == '/') {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: outside sandbox: '%s' is absolute", what, path);
        return px_error_hint(error, "Give a path relative to the workspace.");
    }
    if (px_path_has_parent(path, strlen(path))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: outside sandbox: '%s' has '..'", what, path);
        return px_error_hint(error, "Give a path inside the workspace.");
    }
    if (strlen(path) > 1000 || !px_utf8_valid(path, strlen(path), NULL)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: longer than 1000 bytes or not UTF-8", what);
        return px_error_hint(error, "Give a shorter path, as UTF-8.");
    }
    return 0;
}

static int check_code(const pyexec_request *request, pyexec_error *error)
{
    size_t offset;
    if (!request->code) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "code: missing");
        return px_error_hint(error, "Send the script as code, a string.");
    }
    if (request->code_length > PX_CODE_MAX) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "code: %zu bytes are more than the %u allowed",
                     request->code_length, PX_CODE_MAX);
        return px_error_hint(error, "Put data into files instead of into the code.");
    }
    if (memchr(request->code, '\0', request->code_length)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "code: has a NUL byte");
        return px_error_hint(error, "Write it as the escape \\x00 inside a string.");
    }
    if (!px_utf8_valid(request->code, request->code_length, &offset)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "code: not UTF-8 at byte %zu", offset);
        return px_error_hint(error, "Encode the script as UTF-8, without lone surrogates.");
    }
    return 0;
}

static int check_files(const pyexec_request *request, pyexec_error *error)
{
    for (size_t i = 0; i < request->file_count; i++) {
        const char *path = request->files[i].path;
        if (px_request_check_path(path, "files", error) < 0)
            return -1;
        if (!*path || path[strlen(path) - 1] == '/') {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "files: '%s' names no file", path);
            return px_error_hint(error, "Give a path that ends in a file's name.");
        }
    }
    return 0;
}

static int check_return_files(const pyexec_request *request, pyexec_error *error)
{
    if (request->return_files.count <= RETURN_FILES_MAX)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "return_files: %zu patterns are more than the %u allowed",
                 request->return_files.count, RETURN_FILES_MAX);
    return px_error_hint(error, "Use patterns that match several files, such as *.csv.");
}

static int check_env(const pyexec_request *request, pyexec_error *error)
{
    const size_t longest = PX_PACKET_MAX - PX_FIELD_HEADER;
    if (request->bad_env) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "env: '%.200s' can't be a name", request->bad_env);
        return px_error_hint(error, "A variable's name is not empty and has no '='.");
    }
    for (size_t i = 0; i < request->env.count; i++) {
        const char *item = request->env.items[i];
        if (strlen(item) > longest) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "env: '%.*s' is longer than %zu bytes", (int)strcspn(item, "="),
                         item, longest);
            return px_error_hint(error, "Pass large data in stdin or in files.");
        }
    }
    if (request->env_bytes > REQUEST_ENV_MAX_BYTES) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "env: larger than %u bytes in total", REQUEST_ENV_MAX_BYTES);
        return px_error_hint(error, "Pass large data in stdin or in files.");
    }
    return 0;
}

int px_request_check(pyexec_request *request, pyexec_error *error)
{
    request->sent = false;
    if (check_code(request, error) < 0)
        return -1;
    if (request->working_dir && px_request_check_path(request->working_dir, "working_dir", error) < 0)
        return -1;
    const char *shown = request->workspace_path;
    if (shown &&
        (shown[0] != '/' || strlen(shown) >= PX_WORKSPACE_PATH_MAX || px_path_has_parent(shown, strlen(shown)))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "workspace_path: '%s' is not absolute, or too long", shown);
        return px_error_hint(error, "Give a path from / on, without '..', such as /home/user.");
    }
    if (request->workspace && request->workspace[0] != '/') {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "workspace: '%s' is not absolute", request->workspace);
        return px_error_hint(error, "Give the whole path of a folder of the host, from / on.");
    }
    return check_files(request, error) < 0 || check_env(request, error) < 0 || check_return_files(request, error) < 0
               ? -1
               : px_inputs_check(request, error);
}

static int make_ceiling(const pyexec_request *request, const struct px_policy *own, struct px_policy *ret,
                        pyexec_error *error)
{
    if (px_policy_copy(ret, own, error) < 0)
        return -1;
    /* The origin of a request: an environment of the ceiling is stronger than the executor's interpreter. */
    if (px_policy_merge_json(ret, request->ceiling, PX_ORIGIN_REQUEST, error) < 0 || px_policy_check(ret, error) < 0)
        return px_error_wrap(error, "ceiling");
    return 0;
}

/* Finds the environment, unless the policy is that of a session, which keeps its environment as it was when it began; and keeps the
 * policy below the request's ceiling. */
static int complete(const pyexec_request *request, const struct px_policy *own, bool later,
                    struct px_environments *store, struct px_policy *merged, pyexec_error *error)
{
    px_auto(px_policy_done) struct px_policy ceiling = {0};
    /* Which environments there are is not for a caller who may not use them. */
    if (request->ceiling && (make_ceiling(request, own, &ceiling, error) < 0 ||
                             px_policy_limit_environment(merged, &ceiling, later, error) < 0))
        return -1;
    if (!later && px_policy_find_environment(merged, store, error) < 0)
        return -1;
    if (!request->ceiling)
        return 0;
    px_policy_raise(&ceiling, merged->env);
    return px_policy_limit(merged, &ceiling, later, error);
}

/* True if the ceiling can change nothing. An empty ceiling is the executor's policy `own`, and no policy is beyond itself. Most
 * requests of servers are so, and to copy, check and limit a policy takes as long as the rest of their preparation. */
static bool is_within(const pyexec_request *request, const struct px_policy *own, const struct px_policy *base)
{
    if (!request->ceiling)
        return true;
    return json_is_object(request->ceiling) && !json_object_size(request->ceiling) &&
           (base == own || px_policy_equal(base, own));
}

/* True unless the environment of the executor was updated, or lost, since it was found. */
static bool has_latest(const struct px_policy *own, struct px_environments *store)
{
    pyexec_error ignored;
    const struct px_environment *latest = NULL;
    if (*own->environment && store && px_environments_get(store, own->environment, &latest, &ignored) < 0)
        return false;
    px_environment_unref(latest); /* the store has it too, so the pointer can be compared */
    return latest == own->env;
}

const struct px_policy *px_request_policy(const pyexec_request *request, bool makes_session,
                                          const struct px_policy *own, const struct px_policy *base,
                                          struct px_environments *store, struct px_policy *merged, pyexec_error *error)
{
    /* The defaults of the request count as flags, so that a ceiling lowers them instead of refusing them. */
    const struct {
        json_t *policy;
        enum px_origin origin;
    } parts[] = {
        {base == own ? request->policy_defaults : NULL, PX_ORIGIN_FLAG},
        {makes_session ? request->session_policy : NULL, PX_ORIGIN_REQUEST},
        {request->policy, PX_ORIGIN_REQUEST},
    };
    if (!parts[0].policy && !parts[1].policy && !parts[2].policy && is_within(request, own, base) &&
        (base != own || has_latest(own, store)))
        return base;
    if (px_policy_copy(merged, base, error) < 0)
        return NULL;
    for (size_t i = 0; i < PX_COUNT(parts); i++)
        if (parts[i].policy && px_policy_merge_json(merged, parts[i].policy, parts[i].origin, error) < 0)
            return NULL;
    if (px_policy_check(merged, error) < 0 || complete(request, own, base != own, store, merged, error) < 0)
        return NULL;
    return merged;
}
