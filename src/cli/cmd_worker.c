/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec worker: a node of a fleet (docs/scale.md). This process forks the server, and then becomes pyexec-worker, which brings the
 * requests of a NATS server to it. The server ends with its parent, also when that is killed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/libexec.h"
#include "base/retry.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/serve_command.h"
#include "cli/server_heap.h"

#define WORKER_PROGRAM "pyexec-worker"
#define WORKER_BACKLOG 1024
#define SECRET_FILE_MAX 4096
#define NODE_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define NODE_MAX 64

struct worker_options {
    struct cli_serve_flags serve;
    struct cli_list nats;
    const char *creds, *queue, *labels, *node;
};

static const struct cli_option rows[] = {
    {"nats", 0, "URL", "A NATS server, as nats://HOST:4222 or tls://HOST:4222; may be given several times.",
     CLI_INTO(struct worker_options, nats)},
    {"creds", 0, "FILE", "The credentials of this worker's NATS user.", CLI_INTO(struct worker_options, creds)},
    {"queue", 0, "NAME", "The queue group from which single runs and new sessions come. Default: pyexec.",
     CLI_INTO(struct worker_options, queue)},
    {"labels", 0, "KEY=VALUE,...", "What this node says about itself.", CLI_INTO(struct worker_options, labels)},
    {"node", 0, "NAME", "The name of this node, which no other node may have. Default: the host's name.",
     CLI_INTO(struct worker_options, node)},
    {"listen", 0, "ADDRESS", "Also serves HTTP there, for example for metrics: unix:/PATH or HOST:PORT.",
     CLI_INTO(struct worker_options, serve.listen)},
    {"token-file", 0, "FILE",
     "The principals and their limits: a line NAME - [key=value...] or NAME sha256:HEX [key=value...] for each.",
     CLI_INTO(struct worker_options, serve.token_file)},
    {"log-format", 0, "FORMAT", "text or json.", CLI_INTO(struct worker_options, serve.log_format)},
    {"audit-log", 0, "FILE", "Appends a JSON line for each run.", CLI_INTO(struct worker_options, serve.audit_log)},
    {"mcp-servers", 0, "FILE", "Other MCP servers, as for `pyexec serve`.",
     CLI_INTO(struct worker_options, serve.mcp_servers)},
};

/* ---- Settings ---- */

static int set_text(struct px_nats_config *nats, const char *key, const char *value, pyexec_error *error)
{
    return value ? px_nats_config_set_text(nats, key, value, error) : 0;
}

static int set_flags(struct px_nats_config *nats, const struct worker_options *options, pyexec_error *error)
{
    px_auto_buffer struct px_buffer urls = {0};
    for (size_t i = 0; i < options->nats.count; i++)
        px_buffer_printf(&urls, "%s%s", i ? "," : "", options->nats.items[i]);
    if (urls.length && set_text(nats, "url", px_buffer_string(&urls), error) < 0)
        return -1;
    px_auto_free char *creds = options->creds ? realpath(options->creds, NULL) : NULL;
    if (options->creds && !creds)
        return px_error_of_request(error, errno, "Give a file that this user may read.", "--creds: '%s'",
                                   options->creds);
    if (set_text(nats, "creds", creds, error) < 0 || set_text(nats, "queue", options->queue, error) < 0 ||
        set_text(nats, "labels", options->labels, error) < 0 || set_text(nats, "node", options->node, error) < 0)
        return -1;
    if (nats->url.count)
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY, "no NATS server is named");
    return px_error_hint(error, "Give --nats nats://HOST:4222, or [nats] url in the configuration.");
}

/* Without a name the node has that of the host, up to its first dot. */
static int name_node(struct px_nats_config *nats, pyexec_error *error)
{
    char name[NODE_MAX + 1] = "";
    if (!nats->node) {
        gethostname(name, sizeof name - 1);
        name[strcspn(name, ".")] = '\0';
        nats->node = strdup(name);
    }
    if (!nats->node)
        return px_error_oom(error);
    if (*nats->node && strlen(nats->node) <= NODE_MAX && strspn(nats->node, NODE_CHARACTERS) == strlen(nats->node))
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY, "node: '%.80s' can't be the name of a node", nats->node);
    return px_error_hint(error, "Use 1 to 64 of A-Z a-z 0-9 - and _, with --node or [nats] node.");
}

/* Returns the first line of a file. */
static json_t *first_line(const char *path, const char *key, pyexec_error *error)
{
    char text[SECRET_FILE_MAX];
    ssize_t length = px_read_small_file(AT_FDCWD, path, text, sizeof text);
    if (length < 0) {
        px_error_errno(error, PYEXEC_INVALID_POLICY, errno, "%s: can't read '%s'", key, path);
        px_error_hint(error, "Give a file that user %u may read.", (unsigned)geteuid());
        return NULL;
    }
    text[strcspn(text, "\r\n")] = '\0';
    json_t *line = json_string(text);
    if (!line)
        px_error_oom(error);
    return line;
}

static json_t *labels_of(const struct px_nats_config *nats, pyexec_error *error)
{
    json_t *labels = json_object();
    for (size_t i = 0; i < nats->labels.count; i++) {
        const char *text = nats->labels.items[i], *equals = strchr(text, '=');
        if (!equals || equals == text) {
            px_error_set(error, PYEXEC_INVALID_POLICY, "labels: '%.80s' is not of the form KEY=VALUE", text);
            px_error_hint(error, "Write for example zone=a,disk=fast.");
            json_decref(labels);
            return NULL;
        }
        px_auto_free char *key = strndup(text, (size_t)(equals - text));
        px_json_set(labels, key ? key : "", json_string(equals + 1));
    }
    return labels;
}

/* The configuration of pyexec-worker, without the server's process id. */
static json_t *describe(const struct cli_serve *serve, const struct px_nats_config *nats, int socket,
                        pyexec_error *error)
{
    char path[40];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t turns = serve->settings.host.max_concurrent ? serve->settings.host.max_concurrent : 2 * processors;
    const struct {
        const char *key, *value;
    } texts[] = {{"node", nats->node},
                 {"queue", nats->queue},
                 {"creds", nats->creds},
                 {"user", nats->user},
                 {"nkey", nats->nkey},
                 {"nkey_seed_file", nats->nkey_seed_file},
                 {"ca_file", nats->ca_file},
                 {"certificate", nats->certificate},
                 {"certificate_key", nats->certificate_key},
                 {"principal", nats->principal}};
    json_t *urls = json_array(), *labels = labels_of(nats, error);
    for (size_t i = 0; i < nats->url.count; i++)
        px_json_append(urls, json_string(nats->url.items[i]));
    snprintf(path, sizeof path, "/proc/self/fd/%d", socket);
    px_auto_json json_t *config = labels
                                      ? json_pack("{s:o, s:o, s:s, s:I, s:I, s:I, s:I}", "url", urls, "labels", labels,
                                                  "socket", path, "replicas", (json_int_t)nats->replicas, "turns",
                                                  (json_int_t)turns, "queue_length", (json_int_t)nats->queue_length,
                                                  "idle_seconds", (json_int_t)(serve->config.idle_timeout_ms / 2000))
                                      : NULL;
    if (!labels)
        json_decref(urls);
    for (size_t i = 0; config && i < PX_COUNT(texts); i++)
        if (texts[i].value)
            px_json_set(config, texts[i].key, json_string(texts[i].value));
    json_t *line;
    if (config && nats->password_file) {
        if (!(line = first_line(nats->password_file, "password_file", error)))
            return NULL;
        px_json_set(config, "password", line);
    }
    if (config && nats->token_file) {
        if (!(line = first_line(nats->token_file, "token_file", error)))
            return NULL;
        px_json_set(config, "token", line);
    }
    return json_incref(config);
}

/* ---- The socket of the server ---- */

/* Makes a listening socket, and a descriptor by which it is reached (/proc/self/fd/N): its name is removed at once, so that nothing
 * of it is left whatever is killed. */
static int open_socket(int *ret_listener, int *ret_place, pyexec_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *top = getenv("TMPDIR");
    char folder[80];
    snprintf(folder, sizeof folder, "%s/pyexec-XXXXXX", top && *top && strlen(top) < 60 ? top : "/tmp");
    if (!mkdtemp(folder)) /* mode 0700 */
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make '%s'", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    px_auto_fd int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
                 listen(listener, WORKER_BACKLOG) < 0;
    px_auto_fd int place = failed ? -1 : px_open(address.sun_path, O_PATH, 0);
    int saved = errno;
    unlink(address.sun_path);
    rmdir(folder);
    if (failed || place < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, saved, "can't make the server's socket in '%s'", folder);
    *ret_listener = TAKE_FD(listener);
    *ret_place = TAKE_FD(place);
    return 0;
}

/* ---- The two processes ---- */

/* The server. A signal of the terminal goes only to its parent, which tells it when to end. */
static int serve_below(const struct cli_serve *serve, pid_t parent, int listener, const char *node)
{
    pyexec_error error;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        return CLI_EXIT_FAILED;
    setpgid(0, 0);
    unsetenv("NOTIFY_SOCKET"); /* the worker says when the node is ready */
    return cli_serve_run(serve, listener, node, &error) < 0 ? cli_fail(&error) : CLI_EXIT_OK;
}

/* What pyexec-worker needs. Other variables may be secrets of the operator. The last four are for sanitizers. */
static const char *const worker_variables[] = {
    "PATH",         "LANG",          "LC_ALL",       "NOTIFY_SOCKET", "TMPDIR",
    "HOME",         "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF",  "LD_LIBRARY_PATH",
    "ASAN_OPTIONS", "LSAN_OPTIONS",  "TSAN_OPTIONS", "UBSAN_OPTIONS"};

static void choose_variables(char *ret[PX_COUNT(worker_variables) + 1])
{
    size_t count = 0;
    for (size_t i = 0; i < PX_COUNT(worker_variables); i++) {
        size_t length = strlen(worker_variables[i]);
        char **at = environ;
        while (*at && (strncmp(*at, worker_variables[i], length) != 0 || (*at)[length] != '='))
            at++;
        if (*at)
            ret[count++] = *at;
    }
    ret[count] = NULL;
}

static int become_worker(const char *program, json_t *config, pid_t server, pyexec_error *error)
{
    char *const arguments[] = {(char[]){WORKER_PROGRAM}, NULL}, *variables[PX_COUNT(worker_variables) + 1];
    choose_variables(variables);
    px_json_set(config, "server", json_integer(server));
    px_auto_free char *text = px_json_dumps(config, JSON_COMPACT);
    px_auto_fd int fd = text ? px_memory_file("pyexec-worker", text, strlen(text)) : -1;
    if (fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO)
        execve(program, arguments, variables);
    px_error_errno(error, PYEXEC_INTERNAL, text ? errno : ENOMEM, "can't start '%s'", program);
    kill(server, SIGKILL);
    (void)!px_waitpid(server, NULL, 0);
    return -1;
}

static int start(const struct cli_serve *serve, const struct px_nats_config *nats, pyexec_error *error)
{
    px_auto_fd int listener = -1;
    int place = -1; /* inherited by pyexec-worker */
    px_auto_free char *program = px_libexec_find(WORKER_PROGRAM);
    if (!program) {
        px_error_set(error, PYEXEC_INTERNAL, "the program pyexec-worker is not there");
        return px_error_hint(error, "Install the package pyexec-worker, or build with libnats (libnats-dev).");
    }
    if (open_socket(&listener, &place, error) < 0)
        return -1;
    px_auto_json json_t *config = describe(serve, nats, place, error);
    if (!config)
        return -1;
    pid_t parent = getpid(), server = fork();
    if (server < 0)
        return px_error_exhausted(error, errno, "can't start the server");
    if (server == 0) {
        close(place);
        _exit(serve_below(serve, parent, listener, nats->node));
    }
    px_close_fd(&listener);
    return become_worker(program, config, server, error);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    pyexec_error error;
    px_auto(cli_serve_done) struct cli_serve serve = {0};
    px_auto(px_nats_config_done) struct px_nats_config nats = {0};
    const struct worker_options *options = target;
    const struct px_config into = {.nats = &nats};
    cli_heap_for_server();
    if (cli_serve_load(&serve, arguments, &options->serve, &error) == 0 && px_nats_config_init(&nats, &error) == 0 &&
        px_config_load_into(arguments->config, &into, &error) == 0 && set_flags(&nats, options, &error) == 0 &&
        name_node(&nats, &error) == 0)
        (void)!start(&serve, &nats, &error);
    return cli_fail(&error);
}

const struct cli_command cmd_worker = {
    .name = "worker",
    .summary = "a node of a fleet: runs what comes over NATS",
    .description =
        "Serves requests that come over NATS, as `pyexec serve` does over HTTP: single runs for the whole fleet, and the "
        "sessions that were made at this node (docs/scale.md). Sessions need JetStream. The policy given here is every caller's "
        "ceiling, unless the token file says otherwise. SIGTERM drains. Keys of [nats] and of the sections of `pyexec serve` are "
        "taken from the configuration file and the environment (PYEXEC_NATS_URL=nats://HOST:4222).",
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct worker_options),
    .policy_flags = true,
    .run = run,
};
