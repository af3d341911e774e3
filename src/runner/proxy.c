/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/proxy_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/libexec.h"
#include "base/retry.h"
#include "base/thread.h"
#include "protocol/egress.h"
#include "runner/ca_bundle.h"
#include "runner/run.h"
#include "runner/run_ids.h"

#define PROXY_START_MS 10000
#define PROXY_END_MS 2000
#define FD_MIN 16 /* above the numbers that the program's own descriptors get */

struct px_proxy *px_proxy_new(const struct px_proxy_options *options)
{
    struct px_proxy *proxy = calloc(1, sizeof *proxy);
    if (!proxy)
        return NULL;
    proxy->options = *options;
    proxy->socket = proxy->pidfd = proxy->log = proxy->certificates = -1;
    proxy->secret_certificates = proxy->authority = -1;
    pthread_mutex_init(&proxy->start_lock, NULL);
    pthread_mutex_init(&proxy->send_lock, NULL);
    pthread_mutex_init(&proxy->lock, NULL);
    px_cond_init(&proxy->changed);
    return proxy;
}

int px_proxy_send(struct px_proxy *proxy, json_t *packet, const int *fds, size_t count)
{
    px_auto_free char *text = px_json_dumps(packet, JSON_COMPACT);
    return text ? px_send_fds(proxy->socket, text, strlen(text), fds, count) : -1;
}

/* Sends a packet about a run to the process with this number, and a descriptor if it is not -1. Fails if another one has taken its place. */
static int send_packet(struct px_proxy *proxy, uint64_t process, json_t *packet, int fd)
{
    pthread_mutex_lock(&proxy->send_lock);
    int result = process && process == proxy->process ? px_proxy_send(proxy, packet, &fd, fd < 0 ? 0 : 1) : -1;
    pthread_mutex_unlock(&proxy->send_lock);
    return result;
}

json_t *px_proxy_await_event(struct px_proxy *proxy)
{
    px_auto_free char *text = malloc(PX_EGRESS_PACKET_MAX);
    struct pollfd polled = {proxy->socket, POLLIN, 0};
    ssize_t n = -1;
    if (text && px_poll(&polled, 1, PROXY_START_MS) > 0)
        n = px_receive_packet(proxy->socket, text, PX_EGRESS_PACKET_MAX, MSG_DONTWAIT);
    return n > 0 ? px_json_loadb(text, (size_t)n, 0, NULL) : NULL;
}

/* The caller holds the lock. A script that connects now must get an error at once, and not wait in a queue that nobody reads. */
static void forget_registrations(struct px_proxy *proxy)
{
    for (struct px_proxy_run *run = proxy->runs; run; run = run->next) {
        if (run->process)
            shutdown(run->listener, SHUT_RDWR);
        run->process = 0;
        run->opened = false;
    }
}

static void reap(int pidfd)
{
    siginfo_t info;
    struct pollfd polled = {pidfd, POLLIN, 0};
    if (px_poll(&polled, 1, PROXY_END_MS) == 0) {
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        (void)!px_poll(&polled, 1, PROXY_END_MS);
    }
    /* Fails with ECHILD if the host program ignores SIGCHLD or has waited for the process itself. */
    (void)!px_waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED | WNOHANG, NULL);
}

/* The thread that reads the program's packets, until its end. */
static void *read_events(void *argument)
{
    struct px_proxy *proxy = argument;
    px_auto_free char *packet = malloc(PX_EGRESS_PACKET_MAX);
    ssize_t n;
    while (packet && (n = px_receive_packet(proxy->socket, packet, PX_EGRESS_PACKET_MAX, 0)) > 0) {
        px_auto_json json_t *event = px_json_loadb(packet, (size_t)n, 0, NULL);
        pthread_mutex_lock(&proxy->lock);
        px_proxy_take_event(proxy, event);
        pthread_cond_broadcast(&proxy->changed);
        pthread_mutex_unlock(&proxy->lock);
    }
    shutdown(proxy->socket, SHUT_RDWR);
    reap(proxy->pidfd);
    pthread_mutex_lock(&proxy->lock);
    forget_registrations(proxy);
    proxy->state = PX_PROXY_ENDED;
    pthread_cond_broadcast(&proxy->changed);
    pthread_mutex_unlock(&proxy->lock);
    return NULL;
}

static enum px_proxy_state state_of(struct px_proxy *proxy)
{
    pthread_mutex_lock(&proxy->lock);
    enum px_proxy_state state = proxy->state;
    pthread_mutex_unlock(&proxy->lock);
    return state;
}

/* The caller holds the lock. */
static void set_process(struct px_proxy *proxy, uint64_t process)
{
    pthread_mutex_lock(&proxy->send_lock);
    proxy->process = process;
    pthread_mutex_unlock(&proxy->send_lock);
}

/* The caller holds start_lock. Frees what is left of a process that has ended. */
static void clear_away(struct px_proxy *proxy)
{
    if (state_of(proxy) == PX_PROXY_ENDED)
        pthread_join(proxy->reader, NULL);
    pthread_mutex_lock(&proxy->lock);
    proxy->state = PX_PROXY_OFF;
    set_process(proxy, 0);
    pthread_mutex_unlock(&proxy->lock);
    px_close_fd(&proxy->socket);
    px_close_fd(&proxy->pidfd);
    px_close_fd(&proxy->log);
}

/* What the program wrote to its standard error, in parentheses, or "". */
static void last_words(int log, char *text, size_t size)
{
    char words[400];
    ssize_t n = px_pread(log, words, sizeof words - 1, 0);
    words[n > 0 ? n : 0] = '\0';
    words[strcspn(words, "\n")] = '\0';
    snprintf(text, size, "%s%s%s", *words ? " (" : "", words, *words ? ")" : "");
}

static int refuse(const char *what, const char *why, pyexec_error *error)
{
    px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "allowed_hosts: the proxy for the network by name %s%s", what, why);
    return px_error_hint(error, "`pyexec doctor` says what it needs. Or leave allowed_hosts out.");
}

/* Starts the program with its socket as descriptor 0. */
static int spawn(struct px_proxy *proxy, int theirs, pyexec_error *error)
{
    char program[PX_PATH_MAX];
    if (px_launcher_find_program(PX_EGRESS_PROGRAM, program, sizeof program, error) < 0)
        return refuse("is not installed: ", "the program " PX_EGRESS_PROGRAM " is missing", error);
    px_auto_fd int socket = fcntl(theirs, F_DUPFD_CLOEXEC, FD_MIN);
    px_auto_fd int null = px_open("/dev/null", O_RDWR | O_CLOEXEC, 0);
    px_auto_fd int null_high = null < 0 ? -1 : fcntl(null, F_DUPFD_CLOEXEC, FD_MIN);
    px_auto_fd int log = memfd_create("log", MFD_CLOEXEC);
    px_auto_fd int log_high = log < 0 ? -1 : fcntl(log, F_DUPFD_CLOEXEC, FD_MIN);
    if (socket < 0 || null_high < 0 || log_high < 0)
        return px_error_exhausted(error, errno, "can't make the proxy's descriptors");
    char *arguments[] = {PX_EGRESS_PROGRAM, NULL}, *environment[] = {NULL};
    const int descriptors[] = {socket, null_high, log_high};
    pid_t pid;
    int failed = px_libexec_spawn(&pid, program, arguments, environment, descriptors, PX_COUNT(descriptors));
    if (failed)
        return px_error_exhausted(error, failed, "can't start " PX_EGRESS_PROGRAM);
    proxy->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (proxy->pidfd < 0) {
        failed = errno;
        kill(pid, SIGKILL);
        return px_error_exhausted(error, failed, "can't make the proxy's descriptors");
    }
    proxy->log = TAKE_FD(log);
    return 0;
}

static json_t *start_packet(const struct px_proxy *proxy)
{
    uint32_t id = px_run_ids_other(proxy->options.run_uid, proxy->options.uid_count);
    const struct px_egress_config *config = proxy->options.config;
    json_t *networks = json_array();
    for (size_t i = 0; i < config->allow_private.count; i++)
        px_json_append(networks, json_string(config->allow_private.items[i]));
    json_t *packet = json_pack(
        "{s:s, s:o, s:s?, s:I, s:I, s:I, s:I, s:I, s:I}", "op", "start", "allow_private", networks, "upstream",
        config->upstream, "request_timeout_ms", (json_int_t)config->request_timeout_ms, "resolve_timeout_ms",
        (json_int_t)config->resolve_timeout_ms, "connect_timeout_ms", (json_int_t)config->connect_timeout_ms,
        "idle_timeout_ms", (json_int_t)config->idle_timeout_ms, "max_connections", (json_int_t)config->max_connections,
        "max_run_connections", (json_int_t)config->max_run_connections);
    if (id) {
        px_json_set(packet, "uid", json_integer(id));
        px_json_set(packet, "gid", json_integer(id));
    }
    return packet;
}

/* Sends "start", and waits for "ready". */
static int greet(struct px_proxy *proxy, pyexec_error *error)
{
    char words[512];
    px_auto_json json_t *packet = start_packet(proxy);
    px_auto_fd int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (!packet)
        return px_error_oom(error);
    px_auto_json json_t *event =
        px_proxy_send(proxy, packet, &self, self < 0 ? 0 : 1) == 0 ? px_proxy_await_event(proxy) : NULL;
    const char *name = json_string_value(json_object_get(event, "event"));
    const char *why = json_string_value(json_object_get(event, "why"));
    if (name && strcmp(name, "ready") == 0)
        return px_proxy_tell_secrets(proxy, error);
    if (why)
        return refuse("can't start: ", why, error);
    last_words(proxy->log, words, sizeof words);
    return refuse("did not start", words, error);
}

static int start_process(struct px_proxy *proxy, pyexec_error *error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return px_error_exhausted(error, errno, "can't make the proxy's descriptors");
    px_auto_fd int theirs = pair[1];
    int size = 2 * PX_EGRESS_PACKET_MAX; /* a packet must fit */
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    proxy->socket = pair[0];
    if (spawn(proxy, theirs, error) < 0)
        return -1;
    px_close_fd(&theirs);
    if (greet(proxy, error) < 0) {
        syscall(SYS_pidfd_send_signal, proxy->pidfd, SIGKILL, NULL, 0);
        reap(proxy->pidfd);
        return -1;
    }
    pthread_mutex_lock(&proxy->lock);
    int failed = px_thread_create(&proxy->reader, read_events, proxy);
    if (!failed) {
        proxy->state = PX_PROXY_RUNS;
        set_process(proxy, ++proxy->starts);
    }
    pthread_mutex_unlock(&proxy->lock);
    if (!failed)
        return 0;
    syscall(SYS_pidfd_send_signal, proxy->pidfd, SIGKILL, NULL, 0);
    reap(proxy->pidfd);
    return px_error_exhausted(error, failed, "can't start a thread");
}

/* Registers the run with the process, and waits for its answer: a script whose proxy can't serve it must not begin. Returns 1 if it is served, 0 if
 * the process has ended, -1 with `error`. The caller does not hold the lock, and nobody else closes or registers the run. */
static int register_run(struct px_proxy_run *run, pyexec_error *error)
{
    struct px_proxy *proxy = run->proxy;
    int64_t until = px_now_ns() + PROXY_START_MS * PX_NS_PER_MS;
    int waited = 0;
    pthread_mutex_lock(&proxy->lock);
    uint64_t process = proxy->process;
    bool told = process && run->process == process; /* and it did not answer in time */
    run->process = process;
    pthread_mutex_unlock(&proxy->lock);
    /* The end of an earlier process has stopped the listener. */
    int sent = told ? 0 : listen(run->listener, PX_EGRESS_BACKLOG);
    if (sent == 0 && !told)
        sent = send_packet(proxy, process, run->open, run->listener);
    pthread_mutex_lock(&proxy->lock);
    while (sent == 0 && run->process && !run->opened && !run->refused && waited == 0)
        waited = px_cond_wait_until(&proxy->changed, &proxy->lock, until);
    bool ended = sent < 0 || !run->process, opened = run->opened;
    json_t *refused = TAKE_PTR(run->refused);
    if (!opened && !waited)
        run->process = 0;
    pthread_mutex_unlock(&proxy->lock);
    int result = opened ? 1 : refused || !ended ? -1 : 0;
    const char *why = json_string_value(json_object_get(refused, "why"));
    if (result < 0)
        refuse("can't serve this run: ", why ? why : "it does not answer", error);
    json_decref(refused);
    return result;
}

/* True if the process runs. If it has just ended, waits until the thread that reads its packets has noticed that: a call that begins
 * now must find a new process. */
static bool runs(struct px_proxy *proxy)
{
    pthread_mutex_lock(&proxy->lock);
    if (proxy->state == PX_PROXY_RUNS) { /* until that thread changes the state, both descriptors stay open */
        struct pollfd polled[] = {{proxy->socket, 0, 0}, {proxy->pidfd, POLLIN, 0}};
        bool ended = px_poll(polled, PX_COUNT(polled), 0) > 0;
        if (ended)
            shutdown(proxy->socket, SHUT_RDWR);
        while (ended && proxy->state == PX_PROXY_RUNS)
            pthread_cond_wait(&proxy->changed, &proxy->lock);
    }
    bool running = proxy->state == PX_PROXY_RUNS;
    pthread_mutex_unlock(&proxy->lock);
    return running;
}

int px_proxy_start(struct px_proxy *proxy, pyexec_error *error)
{
    if (runs(proxy))
        return 0;
    int result = 0;
    pthread_mutex_lock(&proxy->start_lock);
    if (!runs(proxy)) {
        clear_away(proxy);
        result = start_process(proxy, error);
        if (result < 0)
            clear_away(proxy);
    }
    pthread_mutex_unlock(&proxy->start_lock);
    return result;
}

int px_proxy_certificates(struct px_proxy *proxy, pyexec_error *error)
{
    pthread_mutex_lock(&proxy->start_lock);
    if (proxy->certificates < 0)
        proxy->certificates = px_ca_bundle_make(proxy->options.config->ca_file, NULL, error);
    int fd = proxy->certificates;
    pthread_mutex_unlock(&proxy->start_lock);
    return fd;
}

static void free_run(struct px_proxy_run *run)
{
    json_decref(run->open);
    json_decref(run->refused);
    json_decref(run->denied);
    json_decref(run->report);
    px_strings_done(&run->variables);
    free(run);
}

static struct px_proxy_run *new_run(struct px_proxy *proxy, int listener, const struct px_run_context *context,
                                    pyexec_error *error)
{
    struct px_proxy_run *run = calloc(1, sizeof *run);
    if (!run) {
        px_error_oom(error);
        return NULL;
    }
    run->proxy = proxy;
    run->listener = listener;
    pthread_mutex_lock(&proxy->lock);
    run->number = ++proxy->numbers;
    pthread_mutex_unlock(&proxy->lock);
    json_t *hosts = json_array();
    for (size_t i = 0; i < context->policy->allowed_hosts.count; i++)
        px_json_append(hosts, json_string(context->policy->allowed_hosts.items[i]));
    run->open = json_pack("{s:s, s:I, s:o}", "op", "open", "run", (json_int_t)run->number, "allowed_hosts", hosts);
    run->denied = json_array();
    int result = run->open && run->denied ? 0 : px_error_oom(error);
    if (result == 0)
        result = px_proxy_choose_secrets(run, context, error);
    if (result < 0) {
        free_run(run);
        return NULL;
    }
    pthread_mutex_lock(&proxy->lock);
    run->next = proxy->runs;
    proxy->runs = run;
    pthread_mutex_unlock(&proxy->lock);
    return run;
}

int px_proxy_open(struct px_proxy *proxy, struct px_child *child, const struct px_run_context *context,
                  pyexec_error *error)
{
    int type = 0, accepts = 0;
    socklen_t size = sizeof type, size_accepts = sizeof accepts;
    if (!child->proxy_run) {
        /* It comes from the zygote, which is trusted. A mistake must not send another descriptor to the proxy. */
        if (getsockopt(child->listener, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM ||
            getsockopt(child->listener, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size_accepts) < 0 || !accepts)
            return px_error_set(error, PYEXEC_INTERNAL, "the zygote sent no listener for the proxy");
        child->proxy_run = new_run(proxy, child->listener, context, error);
        if (!child->proxy_run)
            return -1;
    }
    struct px_proxy_run *run = child->proxy_run;
    for (int tries = 0; tries < 2; tries++) {
        if (px_proxy_start(proxy, error) < 0)
            return -1;
        pthread_mutex_lock(&proxy->lock);
        bool opened = run->opened;
        pthread_mutex_unlock(&proxy->lock);
        int registered = opened ? 1 : register_run(run, error);
        if (registered)
            return registered < 0 ? -1 : 0;
    }
    return refuse("ended twice in a row", "", error);
}

void px_proxy_close(struct px_proxy_run **run)
{
    struct px_proxy_run *closed = TAKE_PTR(*run);
    if (!closed)
        return;
    struct px_proxy *proxy = closed->proxy;
    pthread_mutex_lock(&proxy->lock);
    struct px_proxy_run **at = &proxy->runs;
    while (*at != closed)
        at = &(*at)->next;
    *at = closed->next;
    uint64_t process = closed->process;
    pthread_mutex_unlock(&proxy->lock);
    px_auto_json json_t *packet = json_pack("{s:s, s:I}", "op", "close", "run", (json_int_t)closed->number);
    if (process && packet)
        (void)!send_packet(proxy, process, packet, -1);
    free_run(closed);
}

/* Asks for a report and waits for it. Returns false if the process ends before, or does not answer. */
bool px_proxy_ask_report(struct px_proxy_run *run, bool last)
{
    struct px_proxy *proxy = run->proxy;
    px_auto_json json_t *packet =
        json_pack("{s:s, s:I}", "op", last ? "close" : "report", "run", (json_int_t)run->number);
    pthread_mutex_lock(&proxy->lock);
    uint64_t process = run->opened ? run->process : 0, before = run->reports;
    pthread_mutex_unlock(&proxy->lock);
    if (!packet || !process || send_packet(proxy, process, packet, -1) < 0)
        return false;
    int64_t until = px_now_ns() + PROXY_END_MS * PX_NS_PER_MS;
    int waited = 0;
    pthread_mutex_lock(&proxy->lock);
    while (run->reports == before && run->process == process && waited == 0)
        waited = px_cond_wait_until(&proxy->changed, &proxy->lock, until);
    if (last) {
        run->process = 0;
        run->opened = false;
    }
    bool came = run->reports != before;
    pthread_mutex_unlock(&proxy->lock);
    return came;
}

void px_proxy_free(struct px_proxy *proxy)
{
    if (!proxy)
        return;
    if (state_of(proxy) != PX_PROXY_OFF) {
        shutdown(proxy->socket, SHUT_RDWR);
        pthread_mutex_lock(&proxy->lock);
        while (proxy->state != PX_PROXY_ENDED)
            pthread_cond_wait(&proxy->changed, &proxy->lock);
        pthread_mutex_unlock(&proxy->lock);
    }
    clear_away(proxy);
    px_close_fd(&proxy->certificates);
    px_close_fd(&proxy->secret_certificates);
    px_close_fd(&proxy->authority);
    free(proxy->authority_pem);
    pthread_mutex_destroy(&proxy->start_lock);
    pthread_mutex_destroy(&proxy->send_lock);
    pthread_mutex_destroy(&proxy->lock);
    pthread_cond_destroy(&proxy->changed);
    free(proxy);
}
