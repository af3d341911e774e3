/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/retry.h"
#include "base/utf8.h"
#include "serve/http.h"

#define SESSION_BYTES_MAX 128 /* the longest session id that a client can send */

int px_log_open(struct px_log *log, bool json, const char *audit_path, pyexec_error *error)
{
    pthread_mutex_init(&log->lock, NULL);
    log->json = json;
    log->audit = -1;
    return px_log_reopen(log, audit_path, error);
}

int px_log_reopen(struct px_log *log, const char *audit_path, pyexec_error *error)
{
    if (!audit_path)
        return 0;
    px_auto_fd int fd = px_open(audit_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        px_error_errno(error, PYEXEC_INVALID_POLICY, errno, "audit_log: can't open '%s'", audit_path);
        return px_error_hint(error, "Name a file, in a folder that the server can write to.");
    }
    /* dup3() replaces the descriptor, so a line that is being written goes to the old or the new file. */
    if (log->audit < 0)
        log->audit = TAKE_FD(fd);
    else if (dup3(fd, log->audit, O_CLOEXEC) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "audit_log: can't change to the new file");
    return 0;
}

void px_log_close(struct px_log *log)
{
    px_close_fd(&log->audit);
    pthread_mutex_destroy(&log->lock);
}

static void add_time(json_t *entry)
{
    char text[40];
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + length, sizeof text - length, ".%03ldZ", now.tv_nsec / 1000000);
    px_json_set(entry, "time", json_string(text));
}

/* True for printable ASCII that needs no quotes in logfmt. */
static bool is_plain(const char *text)
{
    const char *at = text;
    while (*at > ' ' && *at < 0x7f && !strchr("\"=\\", *at))
        at++;
    return at != text && !*at;
}

/* Appends a pair in logfmt. A value that needs quotes is written as a JSON string with escapes for everything
 * except ASCII, so that no client can begin a new line or move a terminal's cursor. */
static void add_pair(struct px_buffer *line, const char *key, const json_t *value)
{
    const char *text = json_string_value(value);
    bool plain = text && is_plain(text);
    px_auto_free char *quoted =
        plain ? NULL : px_json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
    px_buffer_printf(line, "%s%s=%s", line->length ? " " : "", key, plain ? text : quoted ? quoted : "?");
}

/* The server writes one of these texts when it has no memory to make the line of an event. */
static const char lost_json[] = "{\"event\":\"a line is lost: out of memory\"}\n";
static const char lost_text[] = "event=\"a line is lost: out of memory\"\n";

/* Takes ownership of `entry`. Writes it with one write(), so that lines of several processes do not mix. */
static void put(struct px_log *log, int fd, bool json, json_t *entry)
{
    px_auto_buffer struct px_buffer line = {0};
    px_auto_json json_t *taken = entry;
    if (json) {
        px_auto_free char *text =
            taken ? px_json_dumps(taken, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9)) : NULL;
        px_buffer_add_string(&line, text);
    } else {
        const char *key;
        json_t *value;
        line.failed = !json_is_object(taken);
        json_object_foreach(taken, key, value)
            add_pair(&line, key, value);
    }
    px_buffer_add_byte(&line, '\n');
    pthread_mutex_lock(&log->lock);
    if (px_buffer_ok(&line))
        px_write_all(fd, px_buffer_string(&line), line.length);
    else
        px_write_all(fd, json ? lost_json : lost_text, json ? sizeof lost_json - 1 : sizeof lost_text - 1);
    pthread_mutex_unlock(&log->lock);
}

void px_log_event(struct px_log *log, const char *event, const char *detail)
{
    json_t *entry = json_object();
    add_time(entry);
    px_json_set(entry, "event", json_string(event));
    if (detail)
        px_json_set(entry, "detail", json_string(detail));
    put(log, STDERR_FILENO, log->json, entry);
}

static size_t session_length(const char *session)
{
    return px_utf8_truncate(session, strlen(session), SESSION_BYTES_MAX);
}

static void add_caller(json_t *entry, const struct px_http_request *request)
{
    px_json_set(entry, "request_id", json_string(request->id));
    if (*request->caller.trace_id)
        px_json_set(entry, "trace_id", json_string(request->caller.trace_id));
    if (request->principal)
        px_json_set(entry, "principal", json_string(request->principal->name));
    if (request->session) /* the server may have refused the id because it was too long */
        px_json_set(entry, "session", json_stringn(request->session, session_length(request->session)));
}

void px_log_request(struct px_log *log, const struct px_http_request *request)
{
    json_t *entry = json_object();
    add_time(entry);
    px_json_set(entry, "event", json_string("request"));
    add_caller(entry, request);
    px_json_set(entry, "method", json_string(*request->method ? request->method : "?"));
    px_json_set(entry, "route", json_string(request->route ? request->route->path : "none"));
    px_json_set(entry, "status", json_integer(px_http_request_is_lost(request) ? 499 : request->status));
    if (request->outcome)
        px_json_set(entry, "outcome", json_string(request->outcome));
    px_json_set(entry, "bytes_in", json_integer((json_int_t)request->body_bytes));
    px_json_set(entry, "bytes_out", json_integer((json_int_t)request->answer_bytes));
    px_json_set(entry, "ms", json_real((double)(px_now_ns() - request->started_ns) / 1e6));
    put(log, STDERR_FILENO, log->json, entry);
}

void px_log_hash(const struct px_log *log, struct px_http_request *request, const char *code, size_t length)
{
    unsigned char hash[32];
    unsigned size = 0;
    if (log->audit < 0 || !EVP_Digest(code, length, hash, &size, EVP_sha256(), NULL))
        return;
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(request->code_hash + 2 * i, 3, "%02x", hash[i]);
}

static json_t *denials_of(const pyexec_result *result)
{
    json_t *list = json_array();
    for (size_t i = 0; i < pyexec_result_denial_count(result); i++) {
        const pyexec_denial *denial = pyexec_result_denial(result, i);
        size_t what_length, hint_length;
        const char *what = pyexec_denial_what(denial, &what_length), *hint = pyexec_denial_hint(denial, &hint_length);
        int line = pyexec_denial_line(denial);
        px_json_append(list, json_pack("{s:s, s:s%, s:o, s:s%}", "layer", pyexec_denial_layer(denial), "what", what,
                                       what_length, "line", line ? json_integer(line) : json_null(), "hint", hint,
                                       hint_length));
    }
    return list;
}

static json_t *missing_layers_of(const pyexec_result *result)
{
    json_t *list = json_array();
    for (size_t i = 0; i < pyexec_result_missing_layer_count(result); i++)
        px_json_append(list, json_string(pyexec_result_missing_layer(result, i)));
    return list;
}

/* Rounds to three digits after the decimal point, as results do. */
static double rounded(double value)
{
    return (double)(int64_t)(value * 1000 + 0.5) / 1000;
}

static void add_result(json_t *entry, const pyexec_result *result)
{
    px_json_set(entry, "status", json_string(pyexec_status_name(pyexec_result_status(result))));
    px_json_set(entry, "exit_code", json_integer(pyexec_result_exit_code(result)));
    px_json_set(entry, "denials", denials_of(result));
    px_json_set(entry, "denials_dropped", json_integer((json_int_t)pyexec_result_denials_dropped(result)));
    if (json_array_size(pyexec_result_network_object(result)))
        px_json_set(entry, "network", json_incref(pyexec_result_network_object(result)));
    px_json_set(entry, "tier", json_string(pyexec_result_tier(result)));
    px_json_set(entry, "missing_layers", missing_layers_of(result));
    px_json_set(entry, "usage",
                json_pack("{s:f, s:f, s:I}", "wall_ms", rounded(pyexec_result_wall_ms(result)), "cpu_ms",
                          rounded(pyexec_result_cpu_ms(result)), "peak_memory_bytes",
                          (json_int_t)pyexec_result_peak_memory_bytes(result)));
}

/* What each line of the audit log begins with. */
static json_t *begin_audit(const struct px_http_request *request)
{
    json_t *entry = json_object();
    add_time(entry);
    add_caller(entry, request);
    px_json_set(entry, "code_sha256", json_string(request->code_hash));
    return entry;
}

void px_log_verify(struct px_log *log, const struct px_http_request *request, const pyexec_verify_counts *counts,
                   const pyexec_error *error)
{
    if (log->audit < 0)
        return;
    json_t *entry = begin_audit(request);
    if (counts)
        px_json_set(entry, "verify",
                    json_pack("{s:I, s:I, s:f}", "tests", (json_int_t)counts->tests, "passed",
                              (json_int_t)counts->passed, "cpu_ms", rounded(counts->cpu_ms)));
    else
        px_json_set(entry, "error", json_string(pyexec_code_name(error->code)));
    put(log, log->audit, true, entry);
}

static json_t *packages_of(const struct px_http_request *request)
{
    json_t *list = json_array();
    for (const char *line = request->packages; *line;) {
        size_t length = strcspn(line, "\n");
        px_json_append(list, json_stringn(line, length));
        line += length + (line[length] == '\n');
    }
    return list;
}

void px_log_packages(struct px_log *log, const struct px_http_request *request, const char *outcome, const char *name,
                     int64_t nanoseconds)
{
    bool found = strcmp(outcome, "found") == 0;
    const int fds[] = {found ? -1 : STDERR_FILENO, log->audit};
    for (size_t i = 0; i < PX_COUNT(fds); i++) {
        if (fds[i] < 0)
            continue;
        json_t *entry = json_object();
        add_time(entry);
        if (i == 0)
            px_json_set(entry, "event", json_string("packages"));
        add_caller(entry, request);
        px_json_set(entry, "packages", packages_of(request));
        px_json_set(entry, i == 0 ? "outcome" : "build", json_string(outcome));
        if (*name)
            px_json_set(entry, "environment", json_string(name));
        px_json_set(entry, "ms", json_real((double)nanoseconds / 1e6));
        put(log, fds[i], i == 1 || log->json, entry);
    }
}

void px_log_run(struct px_log *log, const struct px_http_request *request, const pyexec_result *result,
                const pyexec_error *error)
{
    if (log->audit < 0)
        return;
    json_t *entry = begin_audit(request);
    if (result)
        add_result(entry, result);
    else
        px_json_set(entry, "error", json_string(pyexec_code_name(error->code)));
    put(log, log->audit, true, entry);
}
