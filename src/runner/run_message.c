/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/run_message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "protocol/launch.h"
#include "protocol/wire.h"
#include "runner/proxy.h"

#define RUN_MESSAGE_MAX 98304 /* size of the run message without its long texts: less than the socket's buffer */
#define INLINE_MAX 16384      /* a longer text becomes a memory file */
#define FDS_MAX (PX_RUN_FILES_MAX + 1)

struct message {
    struct px_buffer fields;
    int fds[FDS_MAX];
    size_t fd_count;
};

/* The sources of the table's values. */
struct run_sources {
    const struct px_child *child;
    const struct px_child_options *options;
    const struct px_policy *policy;
    const pyexec_request *request;
    struct px_buffer tools; /* JSON; empty when there are none */
    char working_dir[2 * PX_WORKSPACE_PATH_MAX];
};

static void message_done(struct message *message)
{
    px_buffer_done(&message->fields);
    px_close_fds(message->fds, message->fd_count);
}

static void sources_done(struct run_sources *run)
{
    px_buffer_done(&run->tools);
}

static uint64_t or_else(int64_t value, uint64_t none)
{
    return value == PX_NONE ? none : (uint64_t)value;
}

static uint32_t flags_of_kind(enum px_call_kind kind)
{
    static const uint32_t flags[] = {[PX_CALL_CODE] = PX_RUN_FLAG_SESSION,
                                     [PX_CALL_SOLUTION] = PX_RUN_FLAG_SESSION | PX_RUN_FLAG_PREPARE_CALLS,
                                     [PX_CALL_COMPILE] = PX_RUN_FLAG_SESSION | PX_RUN_FLAG_COMPILE,
                                     [PX_CALL_COMPILED] = PX_RUN_FLAG_COMPILED,
                                     [PX_CALL_FUNCTION] = PX_RUN_FLAG_SESSION | PX_RUN_FLAG_CALL,
                                     [PX_CALL_TEST] = PX_RUN_FLAG_SESSION | PX_RUN_FLAG_TEST};
    return flags[kind];
}

static uint32_t flags_of(const struct px_child_options *options)
{
    const struct px_policy *policy = options->policy;
    return (policy->use_import_whitelist ? PX_RUN_FLAG_WHITELIST : 0) |
           (policy->block_dunder_imports ? PX_RUN_FLAG_BLOCK_DUNDER : 0) |
           (policy->print_last_expression ? PX_RUN_FLAG_LAST_EXPRESSION : 0) |
           (policy->disable_networking ? 0 : PX_RUN_FLAG_NETWORK) |
           (policy->allowed_hosts.count ? PX_RUN_FLAG_BY_NAME : 0) |
           (options->session ? flags_of_kind(options->kind) : 0) | (options->later ? PX_RUN_FLAG_SAME_IMPORTS : 0) |
           (options->drop_stop ? PX_RUN_FLAG_DROP_STOP : 0);
}

static void add_text(struct px_buffer *fields, uint16_t kind, const char *text)
{
    px_wire_add(fields, kind, text, strlen(text));
}

static void add_names(struct px_buffer *fields, uint16_t kind, const struct px_strings *names)
{
    for (size_t i = 0; i < names->count; i++)
        add_text(fields, kind, names->items[i]);
}

static void add_allowed_imports(struct px_buffer *fields, uint16_t kind, const struct run_sources *run)
{
    const struct px_environment *env = run->policy->env;
    if (run->options->later || !run->policy->use_import_whitelist)
        return;
    add_names(fields, kind, &run->policy->allowed_imports);
    for (size_t i = 0; env && i < env->import_count; i++)
        add_text(fields, kind, env->imports[i]);
}

static void add_banned_imports(struct px_buffer *fields, uint16_t kind, const struct run_sources *run)
{
    if (!run->options->later && !run->policy->use_import_whitelist)
        add_names(fields, kind, &run->policy->banned_imports);
}

static void add_environment(struct px_buffer *fields, uint16_t kind, const struct run_sources *run)
{
    char pair[PX_WORKSPACE_PATH_MAX + 16];
    snprintf(pair, sizeof pair, "HOME=%s", run->options->workspace_path);
    add_text(fields, kind, pair);
    if (px_policy_files(run->policy) == PX_FILES_FULL) {
        /* There is no writable /tmp, so that files made by tempfile count against the workspace's quota. */
        snprintf(pair, sizeof pair, "TMPDIR=%s", run->options->workspace_path);
        add_text(fields, kind, pair);
    }
    add_names(fields, kind, &run->request->env);
    if (run->child->proxy_run)
        add_names(fields, kind, px_proxy_variables(run->child->proxy_run));
}

static int add_file(struct message *message, uint16_t kind, const char *text, size_t length)
{
    uint64_t number = length;
    int fd = px_memory_file("run", text, length);
    if (fd < 0)
        return -1;
    message->fds[message->fd_count++] = fd;
    px_wire_add(&message->fields, kind, &number, sizeof number);
    return 0;
}

/* Finds the texts that are too long for the message. Their fields come before all others except INPUT. */
static int add_files(struct message *message, const struct run_sources *run)
{
#define PX_RUN_LONG(NAME, member, maximum, text, length) \
    if ((text) && (length) > INLINE_MAX && add_file(message, PX_RUN_##NAME##_FILE, text, length) < 0) \
        return -1;
#include "protocol/run_fields.def"
    return 0;
}

static void add_fields(struct px_buffer *fields, const struct run_sources *run)
{
#define PX_RUN_LONG(NAME, member, maximum, text, length) \
    if ((text) && (length) <= INLINE_MAX) \
        px_wire_add(fields, PX_RUN_##NAME, text, length);
#define PX_RUN_NUMBER(NAME, wire, type, member, maximum, value) \
    { \
        wire number = (wire)(value); \
        px_wire_add(fields, PX_RUN_##NAME, &number, sizeof number); \
    }
#define PX_RUN_TEXT(NAME, member, maximum, text) add_text(fields, PX_RUN_##NAME, text);
#define PX_RUN_LIST(NAME, maximum, take, add) add(fields, PX_RUN_##NAME, run);
#include "protocol/run_fields.def"
    px_wire_add(fields, PX_RUN_END, NULL, 0);
}

/* Makes the script's stdin. *ret_fd is -1 when it is empty, because a script has an empty stdin by default. */
static int make_input(struct px_child *child, const pyexec_request *request, int *ret_fd)
{
    *ret_fd = -1;
    if (request->input_fd >= 0) {
        /* A socket and not a pipe, because a write to a socket can be told not to raise SIGPIPE in the host. */
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            return -1;
        child->input = pair[0];
        *ret_fd = pair[1];
        return shutdown(child->input, SHUT_RD);
    }
    if (!request->input_length)
        return 0;
    *ret_fd = px_memory_file("stdin", request->input, request->input_length);
    return *ret_fd < 0 ? -1 : 0;
}

/* Returns 0, or -1 with errno. */
static int write_message(struct px_child *child, const struct run_sources *run, struct message *message)
{
    px_auto_fd int input = -1;
    if (make_input(child, run->request, &input) < 0)
        return -1;
    if (input >= 0)
        px_wire_add(&message->fields, PX_RUN_INPUT, NULL, 0);
    if (add_files(message, run) < 0)
        return -1;
    if (input >= 0)
        message->fds[message->fd_count++] = TAKE_FD(input);
    add_fields(&message->fields, run);
    return 0;
}

/* Sends whole fields in packets of at most PX_PACKET_MAX bytes. The descriptors go with the first one. */
static int send_packets(int channel, const struct message *message)
{
    const struct px_buffer *fields = &message->fields;
    size_t sent = 0;
    while (sent < fields->length) {
        size_t offset = sent, end = sent;
        struct px_wire_field field;
        while (px_wire_next(fields->data, fields->length, &offset, &field) > 0 && offset - sent <= PX_PACKET_MAX)
            end = offset;
        if (end == sent) {
            errno = EMSGSIZE;
            return -1;
        }
        if (px_send_fds(channel, fields->data + sent, end - sent, message->fds, sent == 0 ? message->fd_count : 0) < 0)
            return -1;
        sent = end;
    }
    return 0;
}

int px_run_message_send(struct px_child *child, const struct px_child_options *options, pyexec_error *error)
{
    const pyexec_request *request = options->request;
    px_auto(message_done) struct message message = {0};
    px_auto(sources_done) struct run_sources run = {
        .child = child, .options = options, .policy = options->policy, .request = request};
    snprintf(run.working_dir, sizeof run.working_dir, "%s%s%s", options->workspace_path,
             request->working_dir ? "/" : "", request->working_dir ? request->working_dir : "");
    if (options->tools)
        px_tool_list_write(options->tools, &run.tools);
    if (!px_buffer_ok(&run.tools))
        return px_error_oom(error);
    if (write_message(child, &run, &message) < 0)
        return px_error_exhausted(error, errno, "can't make the run's descriptors");
    if (!px_buffer_ok(&message.fields))
        return px_error_oom(error);
    if (message.fields.length > RUN_MESSAGE_MAX) {
        px_error_set(error, PYEXEC_INVALID_REQUEST,
                     "allowed_imports, banned_imports and env are larger than %d bytes together", RUN_MESSAGE_MAX);
        return px_error_hint(error, "Shorten the lists.");
    }
    if (send_packets(child->channel, &message) < 0 && errno != EPIPE && errno != ECONNRESET)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't send the run");
    return 0;
}
