/* SPDX-License-Identifier: Apache-2.0 */
/* `pyexec run` through a server that already runs. One loop waits for the server's events, for signals and for standard
 * input, which goes to the server over a second connection. What comes from the server is printed; nothing else that it says
 * is trusted. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/retry.h"
#include "base/utf8.h"
#include "cli/cli_signals.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/run_command.h"
#include "cli/run_outcome.h"
#include "cli/server_client.h"
#include "policy/request.h"

#define INPUT_BYTES 65536           /* the most that the server takes at once */
#define INPUT_PAUSE_MIN_MS 5        /* when the script does not read its input */
#define INPUT_PAUSE_MAX_MS 200      /* later */
#define EVENT_MAX ((size_t)1 << 30) /* the largest result: 256 MiB of each stream, escaped */
#define SILENCE_MS 30000 /* then the server is asked whether it is alive; each 15 s it says something (serve/sse.c) */
#define END_WAIT_MS 5000 /* for the result, after a signal has cancelled the run */

struct remote {
    const struct server *server;
    const struct run_options *options;
    struct run_stream *stream;
    struct server_answer events, control; /* two connections; the second is made when it is needed */
    size_t scanned;                       /* bytes of the events in which no end of an event was found */
    char run_id[64];                      /* "": the server has not named the run */
    bool begun;                           /* an event of the run has come */
    struct px_buffer result;
    bool failed, skewed; /* the answer is an error: `error` has it; the server does not know this kind of request */
    pyexec_error error;
    int signals; /* a signalfd */
    int interrupts, terminated;
    bool cancelled;
    int64_t end_ns;         /* when to stop waiting for the result; 0: never */
    int64_t heard_ns;       /* when the server last sent something */
    struct px_buffer input; /* read, and not sent yet */
    bool input_open, input_ended;
    int64_t input_after_ns;
    int input_pause_ms;
};

static void remote_done(struct remote *remote)
{
    server_close(&remote->events);
    server_close(&remote->control);
    px_buffer_done(&remote->result);
    px_buffer_done(&remote->input);
    px_close_fd(&remote->signals);
}

/* ---- Events ---- */

static pyexec_code code_of(const char *name)
{
    for (int code = PYEXEC_OK + 1; name && code < 64; code++) {
        const char *known = pyexec_code_name((pyexec_code)code);
        if (known && strcmp(known, name) == 0)
            return (pyexec_code)code;
    }
    return PYEXEC_INVALID_REQUEST;
}

/* A problem (RFC 9457): the same object as the body of a refusal and as the event `error`. */
static void take_problem(struct remote *remote, const char *text, size_t length)
{
    json_error_t problem;
    pyexec_error *error = &remote->error;
    px_auto_json json_t *object = px_json_read(text, length, JSON_ALLOW_NUL, &problem);
    const char *title = json_string_value(json_object_get(object, "title"));
    const char *hint = json_string_value(json_object_get(object, "hint"));
    int status = remote->events.status;
    remote->failed = true;
    remote->skewed = (status == 400 && title && strstr(title, "'control'")) || status == 404 || status == 405;
    if (remote->skewed) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the server %s does not know requests of `pyexec run`",
                     remote->server->name);
        px_error_hint(
            error, "It is of an older version, or not a pyexec server. Update it, or run without it: --server none.");
        return;
    }
    if (status != 200 && status != 401 && !server_is_problem(object, status)) {
        px_error_set(error, PYEXEC_INTERNAL, "a proxy answered with status %d in place of pyexec", status);
        px_error_hint(error, "The code may have run. Look at the proxy before the server %s.", remote->server->name);
        return;
    }
    px_error_set(error, code_of(json_string_value(json_object_get(object, "code"))), "%s",
                 title ? title : "the server refused the request");
    if (status == 401)
        px_error_hint(error, "Name a file with a token of the server %s: --token-file FILE, or [cli] token_file.",
                      remote->server->name);
    else
        px_error_hint(error, "%s", hint ? hint : "");
    if (status == 429 || status == 503)
        error->retry_after_ms = 1000;
}

static int print_output(struct remote *remote, int stream, const json_t *event)
{
    const json_t *text = json_object_get(event, "text"), *raw = json_object_get(event, "base64");
    if (remote->options->json)
        return 0;
    if (!json_is_string(raw))
        return run_stream_write(remote->stream, stream, json_string_value(text), json_string_length(text));
    px_auto_buffer struct px_buffer bytes = {0};
    if (px_base64_decode(&bytes, json_string_value(raw), json_string_length(raw)) < 0)
        return 0;
    return run_stream_write(remote->stream, stream, px_buffer_shown(&bytes), px_buffer_length(&bytes));
}

/* As run_display_write() does. */
static int print_display(struct remote *remote, const json_t *event)
{
    const json_t *text = json_object_get(json_object_get(event, "data"), "text/plain");
    if (remote->options->json || !json_is_string(text) || json_is_true(json_object_get(event, "last_value")))
        return 0;
    int failed = run_stream_write(remote->stream, 1, json_string_value(text), json_string_length(text));
    return failed ? failed : run_stream_write(remote->stream, 1, "\n", 1);
}

static void take_run_id(struct remote *remote, const json_t *event)
{
    const char *id = json_string_value(json_object_get(event, "run_id"));
    if (id && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(id))
        snprintf(remote->run_id, sizeof remote->run_id, "%s", id);
}

/* Returns 0, or -1 when our output failed. */
static int take_event(struct remote *remote, const char *name, const char *data, size_t length)
{
    json_error_t problem;
    if (strcmp(name, "result") == 0) {
        px_buffer_add(&remote->result, data, length);
        return 0;
    }
    if (strcmp(name, "error") == 0) {
        take_problem(remote, data, length);
        return 0;
    }
    remote->begun = true;
    px_auto_json json_t *event = px_json_read(data, length, JSON_ALLOW_NUL, &problem);
    if (strcmp(name, "control") == 0)
        take_run_id(remote, event);
    else if (strcmp(name, "stdout") == 0 || strcmp(name, "stderr") == 0)
        return print_output(remote, strcmp(name, "stdout") == 0 ? 1 : 2, event);
    else if (strcmp(name, "display") == 0)
        return print_display(remote, event);
    return 0; /* events that a later server has are ignored */
}

/* "event: NAME\ndata: JSON\n"; comments begin with ':'. */
static int take_block(struct remote *remote, const char *block, size_t length)
{
    static const char event[] = "event: ", data[] = "data: ";
    char name[32];
    const char *end = memchr(block, '\n', length);
    size_t name_length = end ? (size_t)(end - block) : 0;
    if (name_length < sizeof event - 1 || memcmp(block, event, sizeof event - 1) != 0)
        return 0;
    snprintf(name, sizeof name, "%.*s", (int)(name_length - (sizeof event - 1)), block + sizeof event - 1);
    size_t left = length - name_length - 1;
    if (left < sizeof data - 1 || memcmp(end + 1, data, sizeof data - 1) != 0)
        return 0;
    return take_event(remote, name, end + 1 + (sizeof data - 1), left - (sizeof data - 1));
}

/* Takes all events that are complete. */
static int take_events(struct remote *remote)
{
    struct px_buffer *body = &remote->events.body;
    size_t done = 0, from = remote->scanned;
    int status = 0;
    while (status == 0 && body->length > from) {
        const char *end = memmem(body->data + from, body->length - from, "\n\n", 2);
        if (!end)
            break;
        size_t next = (size_t)(end - body->data) + 2;
        status = take_block(remote, body->data + done, next - 2 - done);
        done = from = next;
    }
    px_buffer_consume(body, done);
    remote->scanned = body->length ? body->length - 1 : 0; /* half of an end may be there */
    return status;
}

/* ---- Signals ---- */

static void control(struct remote *remote, const char *method, const char *what)
{
    char path[128];
    pyexec_error ignored; /* the run has ended meanwhile, or the server is gone, which its events will say */
    snprintf(path, sizeof path, "/v1/runs/%s%s", remote->run_id, what);
    (void)server_ask(remote->server, &remote->control, method, path, "", 0, &ignored);
}

/* The first Ctrl-C interrupts the script. A second Ctrl-C, SIGTERM or SIGHUP cancels the run. A run that still waits for its turn
 * has no id, so the client closes its connection, and the server drops the run. */
static void act(struct remote *remote)
{
    bool cancel = remote->terminated || remote->interrupts > 1;
    if (cancel && !remote->cancelled) {
        remote->cancelled = true;
        remote->end_ns = px_now_ns() + END_WAIT_MS * PX_NS_PER_MS;
        if (*remote->run_id)
            control(remote, "DELETE", "");
        else
            remote->end_ns = 1;
    } else if (remote->interrupts == 1 && *remote->run_id && !cancel) {
        control(remote, "POST", "/interrupt");
    }
}

static void take_signals(struct remote *remote)
{
    struct signalfd_siginfo info;
    if (px_read(remote->signals, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGINT)
        remote->interrupts++;
    else
        remote->terminated = (int)info.ssi_signo;
    act(remote);
}

/* ---- Standard input ---- */

/* Reads what is there at once. If that is all and it is text, it is sent with the request, and *ret_whole is set. */
static void read_ahead(struct remote *remote, bool *ret_whole)
{
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!remote->input_ended && remote->input.length < INPUT_BYTES && px_poll(&ready, 1, 0) > 0) {
        char block[16384];
        size_t room = INPUT_BYTES - remote->input.length;
        ssize_t n = px_read(STDIN_FILENO, block, room < sizeof block ? room : sizeof block);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n > 0)
            px_buffer_add(&remote->input, block, (size_t)n);
        else
            remote->input_ended = true;
    }
    *ret_whole = remote->input_ended && px_utf8_valid(remote->input.data, remote->input.length, NULL);
}

static void read_input(struct remote *remote)
{
    char *room = px_buffer_reserve(&remote->input, INPUT_BYTES);
    ssize_t n = room ? px_read(STDIN_FILENO, room, INPUT_BYTES) : 0;
    if (n > 0)
        remote->input.length += (size_t)n;
    else if (n == 0 || errno != EAGAIN)
        remote->input_ended = true;
}

static int64_t taken_of(const struct server_answer *answer)
{
    json_error_t problem;
    px_auto_json json_t *object =
        px_json_read(px_buffer_shown(&answer->body), px_buffer_length(&answer->body), JSON_ALLOW_NUL, &problem);
    return answer->status == 200 ? json_integer_value(json_object_get(object, "taken")) : -1;
}

/* Sends what was read, or the end. When the script does not read its input, the server takes less. */
static void send_input(struct remote *remote)
{
    char path[128];
    pyexec_error ignored;
    size_t length = remote->input.length;
    snprintf(path, sizeof path, "/v1/runs/%s/stdin", remote->run_id);
    int64_t taken = -1;
    if (server_ask(remote->server, &remote->control, "POST", path, px_buffer_shown(&remote->input), length, &ignored) ==
        0)
        taken = taken_of(&remote->control);
    if (taken < 0 || (size_t)taken > length || !length) {
        remote->input_open = false; /* it has all, or takes no more */
        return;
    }
    px_buffer_consume(&remote->input, (size_t)taken);
    remote->input_pause_ms = taken ? INPUT_PAUSE_MIN_MS : 2 * remote->input_pause_ms;
    if (remote->input_pause_ms > INPUT_PAUSE_MAX_MS)
        remote->input_pause_ms = INPUT_PAUSE_MAX_MS;
    remote->input_after_ns = remote->input.length ? px_now_ns() + remote->input_pause_ms * PX_NS_PER_MS : 0;
}

static bool has_input(const struct remote *remote)
{
    return remote->input_open && *remote->run_id && (remote->input.length || remote->input_ended);
}

/* ---- The loop ---- */

static int wait_ms(const struct remote *remote)
{
    int64_t until = remote->heard_ns + SILENCE_MS * PX_NS_PER_MS;
    if (remote->end_ns && remote->end_ns < until)
        until = remote->end_ns;
    if (has_input(remote) && remote->input_after_ns < until)
        until = remote->input_after_ns;
    int64_t left = (until - px_now_ns() + PX_NS_PER_MS - 1) / PX_NS_PER_MS;
    return left > 0 ? (int)left : 0;
}

static bool is_over(const struct remote *remote)
{
    return remote->failed || remote->result.length || remote->events.ended || remote->events.lost ||
           (remote->end_ns && px_now_ns() >= remote->end_ns);
}

static const char *what_ran(const struct remote *remote)
{
    return remote->begun
               ? "The script has begun, and its output up to here was printed. See the server's log before you run it again."
               : "The script has not begun. See the server's log, and run it again.";
}

/* A server that runs a long script says so now and then. One that was stopped, or whose machine is gone, keeps the connection open and
 * says nothing. Returns -1 with `error` when it does not answer another request either. */
static int check_alive(struct remote *remote, pyexec_error *error)
{
    int64_t silent_ns = px_now_ns() - remote->heard_ns;
    if (silent_ns < SILENCE_MS * PX_NS_PER_MS)
        return 0;
    if (server_ask(remote->server, &remote->control, "GET", "/healthz", "", 0, error) == 0) {
        remote->heard_ns = px_now_ns();
        return 0;
    }
    px_error_set(error, PYEXEC_INTERNAL, "the server %s has sent nothing for %d s, and does not answer",
                 remote->server->name, (int)(silent_ns / (1000 * PX_NS_PER_MS)));
    return px_error_hint(error, "%s", what_ran(remote));
}

/* Waits for the next thing, and does it. Returns -1 when our output failed, or with `error` when the answer is not HTTP. */
static int step(struct remote *remote, pyexec_error *error)
{
    bool wants = remote->input_open && !remote->input.length && !remote->input_ended && *remote->run_id;
    struct pollfd polled[] = {{.fd = remote->events.fd, .events = POLLIN},
                              {.fd = remote->signals, .events = POLLIN},
                              {.fd = wants ? STDIN_FILENO : -1, .events = POLLIN}};
    (void)!px_poll(polled, PX_COUNT(polled), wait_ms(remote));
    bool had_id = *remote->run_id;
    if (polled[0].revents)
        remote->heard_ns = px_now_ns();
    if (polled[0].revents && server_receive(&remote->events, error) < 0)
        return -1;
    if (remote->events.status == 200 && take_events(remote) < 0)
        return -1;
    if (!had_id && *remote->run_id && remote->interrupts)
        act(remote); /* it came before the run began */
    if (polled[1].revents)
        take_signals(remote);
    if (polled[2].revents)
        read_input(remote);
    if (has_input(remote) && px_now_ns() >= remote->input_after_ns && !is_over(remote))
        send_input(remote);
    if (!is_over(remote) && check_alive(remote, error) < 0)
        return -1;
    if (remote->events.body.length <= EVENT_MAX)
        return 0;
    px_error_set(error, PYEXEC_INTERNAL, "the server sent an event of more than 1 GiB");
    return px_error_hint(error, "Is it a pyexec server?");
}

static int lost(const struct remote *remote, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INTERNAL, "the server %s ended the connection before the result", remote->server->name);
    return px_error_hint(error, "%s", what_ran(remote));
}

/* Returns 0 when there is a result or a problem; -1 with `error` when there will be none, or when our output failed. */
static int follow(struct remote *remote, pyexec_error *error)
{
    *error = (pyexec_error){0};
    remote->heard_ns = px_now_ns();
    while (!is_over(remote))
        if (step(remote, error) < 0)
            return -1;
    if (remote->events.status && remote->events.status != 200 && !remote->failed)
        take_problem(remote, px_buffer_shown(&remote->events.body), px_buffer_length(&remote->events.body));
    if (remote->failed || remote->result.length)
        return 0;
    return lost(remote, error);
}

static int finish(struct remote *remote, pyexec_error *error)
{
    px_auto(run_outcome_done) struct run_outcome outcome = {0};
    if (!px_buffer_ok(&remote->result))
        px_error_oom(error);
    if (!px_buffer_ok(&remote->result) ||
        run_outcome_of_json(&outcome, px_buffer_string(&remote->result), remote->result.length, error) < 0)
        return cli_fail_as(remote->options->json, error);
    return run_report(remote->options, remote->stream, &outcome, remote->terminated, error);
}

static int check_options(const struct run_options *options, const struct cli_arguments *arguments, pyexec_error *error)
{
    if (options->workspace) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--workspace: a server works in no folder that its client names");
        return px_error_hint(error, "Use --file and --output, or run without a server: --server none.");
    }
    if (arguments->allow_missing) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--allow-missing: the layers are those of the server");
        return px_error_hint(error, "Leave it out, or run without a server: --server none.");
    }
    return 0;
}

/* Connects and sends the request. */
static int begin(struct remote *remote, const struct run_call *call, const struct px_policy *policy, bool input,
                 pyexec_error *error)
{
    px_auto_buffer struct px_buffer body = {0};
    bool whole = !input;
    if (input)
        read_ahead(remote, &whole);
    remote->input_open = !whole;
    if (run_body_make(call, policy, whole ? px_buffer_shown(&remote->input) : NULL, px_buffer_length(&remote->input),
                      &body, error) < 0)
        return -1;
    remote->signals = cli_signals_for_server();
    if (remote->signals < 0)
        return px_error_exhausted(error, errno, "can't make a descriptor for signals");
    return server_send(remote->server, &remote->events, "POST", "/v1/execute", "Accept: text/event-stream\r\n",
                       body.data, body.length, error);
}

static int run(struct remote *remote, const struct run_call *call, const struct cli_settings *settings,
               pyexec_error *error)
{
    bool json = remote->options->json, input = call->request->input_fd >= 0;
    if (begin(remote, call, &settings->policy, input, error) < 0)
        return cli_fail_as(json, error);
    int status = follow(remote, error);
    cli_signals_end_descriptor(&remote->signals);
    if (remote->failed)
        return cli_fail_as(json, &remote->error);
    if (remote->result.length)
        return finish(remote, error);
    if (status < 0 && remote->stream->write_errno)
        return run_write_failed(remote->stream);
    if (remote->terminated)
        return PYEXEC_EXIT_SIGNAL + remote->terminated;
    if (!remote->cancelled)
        return cli_fail_as(json, error);
    cli_say("cancelled: the run was cancelled", NULL);
    return PYEXEC_EXIT_CANCELLED;
}

int run_on_server(const struct run_call *call, const struct cli_settings *settings, bool *ret_alone,
                  pyexec_error *error)
{
    const struct run_options *options = call->options;
    px_auto(server_done) struct server server = {0};
    px_auto(run_stream_done) struct run_stream stream = {0};
    px_auto(remote_done) struct remote remote = {.server = &server,
                                                 .options = options,
                                                 .stream = &stream,
                                                 .events.fd = -1,
                                                 .control.fd = -1,
                                                 .signals = -1,
                                                 .input_pause_ms = INPUT_PAUSE_MIN_MS};
    if (check_options(options, call->arguments, error) < 0)
        return cli_fail_as(options->json, error);
    if (server_find(&server, &settings->cli, error) < 0 || server_connect(&server, &remote.events, error) < 0) {
        *ret_alone = settings->cli.fallback && error->sys_errno;
        return *ret_alone ? 0 : cli_fail_as(options->json, error);
    }
    return run(&remote, call, settings, error);
}
