/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/dialect.h"

#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "serve/route.h"
#include "serve/server.h"

unsigned px_dialects(const struct px_serve_config *config)
{
    return (config->e2b ? PX_E2B : 0) | (config->dify_sandbox ? PX_DIFY_SANDBOX : 0) |
           (config->sandbox_fusion ? PX_SANDBOX_FUSION : 0);
}

/* The password of HTTP Basic is the token. The user name can be anything. */
static struct px_principal *find_basic(struct px_principals *principals, const char *header)
{
    px_auto_buffer struct px_buffer text = {0};
    header += 6 + strspn(header + 6, " ");
    if (px_base64_decode(&text, header, strlen(header)) < 0)
        return NULL;
    const char *colon = strchr(px_buffer_shown(&text), ':');
    bool whole = strlen(px_buffer_shown(&text)) == px_buffer_length(&text); /* no NUL in it */
    return colon && whole ? px_principals_find_token(principals, colon + 1) : NULL;
}

/* Returns the token from the header that clients of this dialect use. E2B has one header for its API, one for the
 * code interpreter, and one for files and commands. */
static const char *own_header(const struct px_http_request *request)
{
    static const char *const of_e2b[] = {"E2B-Traffic-Access-Token", "X-Access-Token", "X-Api-Key"};
    const char *token = NULL;
    if (request->route->dialects & PX_DIFY_SANDBOX)
        return px_http_request_header(request, "X-Api-Key");
    for (size_t i = 0; !token && (request->route->dialects & PX_E2B) && i < PX_COUNT(of_e2b); i++)
        token = px_http_request_header(request, of_e2b[i]);
    return token;
}

struct px_principal *px_dialect_principal(struct px_http_request *request)
{
    struct px_principals *principals = &request->server->principals;
    const char *authorization = px_http_request_header(request, "Authorization");
    const char *own = own_header(request);
    if (!request->listener->tcp && (!principals->path || (!authorization && !own)))
        return &principals->local;
    if (!principals->path)
        return request->listener->loopback ? &principals->loopback : NULL;
    if (authorization && strncasecmp(authorization, "Basic ", 6) == 0)
        return find_basic(principals, authorization);
    if (authorization)
        return px_principals_find(principals, authorization);
    return own ? px_principals_find_token(principals, own) : NULL;
}

/* True if no text contains a NUL. Most texts are used as C strings, so "a\0b" would name the file "a". */
static bool is_without_nul(const json_t *value)
{
    const json_t *item;
    const char *key;
    size_t i;
    if (json_is_string(value))
        return strlen(json_string_value(value)) == json_string_length(value);
    if (json_is_array(value)) {
        json_array_foreach(value, i, item)
            if (!is_without_nul(item))
                return false;
    }
    if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
            if (!is_without_nul(item))
                return false;
    }
    return true;
}

/* Code and standard input may contain a NUL, because they are used with their length. */
static const char *find_nul(const json_t *body)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, key, value) {
        bool has_length = strcmp(key, "code") == 0 || strcmp(key, "preload") == 0 || strcmp(key, "stdin") == 0;
        if (!(has_length && json_is_string(value)) && !is_without_nul(value))
            return key;
    }
    return NULL;
}

json_t *px_dialect_body(struct px_http_request *request, pyexec_error *error)
{
    json_error_t problem = {.text = "it is not an object"};
    if (px_http_request_weigh(request, error) < 0)
        return NULL;
    request->json = px_json_read(px_buffer_string(&request->body), request->body.length, JSON_ALLOW_NUL, &problem);
    const char *nul = json_is_object(request->json) ? find_nul(request->json) : NULL;
    if (nul) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "a text in '%.100s' contains a NUL character", nul);
        px_error_hint(error, "Only code and stdin may contain one.");
        return NULL;
    }
    if (json_is_object(request->json))
        return request->json;
    if (!request->json && px_json_no_memory(&problem)) {
        px_error_oom(error);
        return NULL;
    }
    px_error_set(error, PYEXEC_INVALID_REQUEST, "the body is not a JSON object: %.200s", problem.text);
    px_error_hint(error, "Send an object with the member \"code\".");
    return NULL;
}

pyexec_request *px_dialect_run(struct px_http_request *request, const json_t *code, pyexec_error *error)
{
    pyexec_request *run = pyexec_request_new();
    const char *text = json_string_value(code);
    size_t length = json_string_length(code);
    if (!run || pyexec_request_set_code(run, text, length) < 0) {
        pyexec_request_free(run);
        px_error_oom(error);
        return NULL;
    }
    px_log_hash(&request->server->log, request, text, length);
    return run;
}

bool px_dialect_failed(struct px_http_request *request, const pyexec_error *error)
{
    bool own = error->code == PYEXEC_INVALID_REQUEST || error->code == PYEXEC_INVALID_POLICY ||
               error->code == PYEXEC_SESSION_NOT_FOUND || request->stream;
    if (!own) {
        px_respond_error(request, error);
        return true;
    }
    request->outcome = pyexec_code_name(error->code);
    request->server->metrics.errors[error->code]++;
    return false;
}

void px_dialect_add_line(struct px_buffer *out, const char *text)
{
    if (!text || !*text || strstr(px_buffer_shown(out), text))
        return;
    if (out->length && out->data[out->length - 1] != '\n')
        px_buffer_add_byte(out, '\n');
    px_buffer_add_string(out, text);
    px_buffer_add_byte(out, '\n');
}

void px_dialect_add_cut_stream(struct px_buffer *out, const char *stream, uint64_t bytes)
{
    char line[96];
    snprintf(line, sizeof line, "[pyexec: %s is cut: the script wrote %llu bytes]", stream, (unsigned long long)bytes);
    px_dialect_add_line(out, line);
}

void px_dialect_add_cut(struct px_buffer *out, const pyexec_result *result)
{
    if (pyexec_result_stdout_truncated(result))
        px_dialect_add_cut_stream(out, "stdout", pyexec_result_stdout_bytes(result));
    if (pyexec_result_stderr_truncated(result))
        px_dialect_add_cut_stream(out, "stderr", pyexec_result_stderr_bytes(result));
}

void px_dialect_add_stderr(struct px_buffer *out, const pyexec_result *result)
{
    size_t length;
    const char *text = pyexec_result_stderr(result, &length);
    px_buffer_add(out, text, length);
    /* The traceback already shows an exception. sys.exit() has no traceback and nothing to show. */
    if (pyexec_result_status(result) != PYEXEC_STATUS_ERROR)
        px_dialect_add_line(out, pyexec_result_error_repr(result));
    px_dialect_add_line(out, pyexec_result_error_hint(result));
    px_dialect_add_cut(out, result);
}

void px_dialect_health(struct px_http_request *request)
{
    px_respond_text(request, MHD_HTTP_OK, "application/json", "\"ok\"", 4);
}
