/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec worker: a node of a fleet (docs/scale.md). This process forks the server, and then becomes pyexec-worker, which brings the
 * requests of a NATS server to it. The server ends with its parent, also when that is killed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/libexec.h"
#include "base/node_figures.h"
#include "base/processors.h"
#include "base/retry.h"
#include "base/spelling.h"
#include "cli/commands.h"
#include "cli/nats_command.h"
#include "cli/print.h"
#include "cli/private_socket.h"
#include "cli/serve_command.h"
#include "cli/server_heap.h"

#define WORKER_PROGRAM "pyexec-worker"

struct worker_options {
    struct cli_serve_flags serve;
    struct cli_nats_flags nats;
    const char *queue, *labels, *node;
};

static const struct cli_option rows[] = {
    CLI_NATS_OPTION(struct worker_options, nats.urls),
    CLI_CREDS_OPTION(struct worker_options, nats.creds),
    {"queue", 0, "NAME", "The queue group from which single runs and new sessions come. Default: pyexec.",
     CLI_INTO(struct worker_options, queue)},
    {"labels", 0, "KEY=VALUE,...", "What this node says about itself.", CLI_INTO(struct worker_options, labels)},
    {"node", 0, "NAME", "The name of this node, which no other node may have. Default: the host's name.",
     CLI_INTO(struct worker_options, node)},
    {"listen", 0, "ADDRESS", "Also serves HTTP there, as `pyexec serve` does: unix:/PATH or HOST:PORT.",
     CLI_INTO(struct worker_options, serve.listen)},
    CLI_METRICS_OPTION(struct worker_options, serve.metrics),
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
    if (set_text(nats, "queue", options->queue, error) < 0 || set_text(nats, "labels", options->labels, error) < 0 ||
        set_text(nats, "node", options->node, error) < 0)
        return -1;
    return cli_nats_set(nats, &options->nats, error);
}

/* Without a name the node has that of the host, up to its first dot. */
static int name_node(struct px_nats_config *nats, pyexec_error *error)
{
    char name[PX_NODE_NAME_MAX + 1] = "";
    if (!nats->node) {
        gethostname(name, sizeof name - 1);
        name[strcspn(name, ".")] = '\0';
        nats->node = strdup(name);
    }
    if (!nats->node)
        return px_error_oom(error);
    if (px_word_is_plain(nats->node, PX_NODE_NAME_MAX))
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY, "node: '%.80s' can't be the name of a node", nats->node);
    return px_error_hint(error, "Use 1 to 64 of A-Z a-z 0-9 - and _, with --node or [nats] node.");
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
static json_t *describe(const struct cli_serve *serve, const struct px_nats_config *nats, int socket, int figures,
                        pyexec_error *error)
{
    char path[40];
    int64_t turns = px_turns_for(serve->settings.host.max_concurrent);
    px_auto_json json_t *labels = labels_of(nats, error), *config = labels ? cli_nats_describe(nats, error) : NULL;
    if (!config)
        return NULL;
    snprintf(path, sizeof path, "/proc/self/fd/%d", socket);
    px_json_merge(config, json_pack("{s:O, s:s, s:i, s:I, s:I, s:I, s:I, s:s, s:s}", "labels", labels, "socket", path,
                                    "figures", figures, "replicas", (json_int_t)nats->replicas, "turns",
                                    (json_int_t)turns, "full_at", (json_int_t)nats->full_at, "idle_seconds",
                                    (json_int_t)(serve->config.idle_timeout_ms / 2000), "node", nats->node, "queue",
                                    nats->queue));
    if (nats->principal)
        px_json_set(config, "principal", json_string(nats->principal));
    return json_incref(config);
}

/* ---- The two processes ---- */

/* The server. A signal of the terminal goes only to its parent, which tells it when to end. */
static int serve_below(const struct cli_serve *serve, pid_t parent, int listener, const char *node,
                       const struct px_node_figures *figures)
{
    pyexec_error error;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        return CLI_EXIT_FAILED;
    setpgid(0, 0);
    unsetenv("NOTIFY_SOCKET"); /* the worker says when the node is ready */
    const struct cli_serve_below below = {.worker_socket = listener, .node = node, .figures = figures};
    return cli_serve_run(serve, &below, &error) < 0 ? cli_fail(&error) : CLI_EXIT_OK;
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

/* Memory for what pyexec-worker counts, which the server shows. Returns a descriptor that pyexec-worker inherits. */
static int share_figures(const struct px_node_figures **ret, pyexec_error *error)
{
    px_auto_fd int fd = memfd_create("pyexec-figures", MFD_ALLOW_SEALING);
    bool made = fd >= 0 && px_ftruncate(fd, sizeof **ret) == 0 &&
                fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
    void *figures = made ? mmap(NULL, sizeof **ret, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (figures == MAP_FAILED)
        return px_error_exhausted(error, errno, "can't make memory for the node's figures");
    *ret = figures;
    return TAKE_FD(fd);
}

static int start(const struct cli_serve *serve, const struct px_nats_config *nats, pyexec_error *error)
{
    px_auto_fd int listener = -1;
    const struct px_node_figures *figures;
    int place = -1; /* inherited by pyexec-worker */
    px_auto_free char *program = px_libexec_find(WORKER_PROGRAM, X_OK);
    if (!program) {
        px_error_set(error, PYEXEC_INTERNAL, "the program pyexec-worker is not there");
        return px_error_hint(error, "Install the package pyexec-worker, or build with libnats (libnats-dev).");
    }
    if (cli_private_socket(&listener, &place, error) < 0)
        return -1;
    int shared = share_figures(&figures, error);
    px_auto_json json_t *config = shared < 0 ? NULL : describe(serve, nats, place, shared, error);
    if (!config)
        return -1;
    pid_t parent = getpid(), server = fork();
    if (server < 0)
        return px_error_exhausted(error, errno, "can't start the server");
    if (server == 0) {
        close(place);
        close(shared);
        _exit(serve_below(serve, parent, listener, nats->node, figures));
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
