/* SPDX-License-Identifier: Apache-2.0 */
/* The start, the loop, and the end. `pyexec worker` has forked the server and replaced itself by this program, so the server is a child
 * of this process. Descriptor 0 has the configuration, one JSON object. Its `socket` is the server's socket, as a path below
 * /proc/self/fd: the socket has no name in the file system any more, so nothing is left of it whatever is killed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/libexec.h"
#include "base/retry.h"
#include "base/service_manager.h"
#include "base/trace_context.h"
#include "worker/worker.h"

#define WORKER_CONFIG_MAX (1u << 20)
#define WORKER_FAILED 125
#define WORKER_LAST_NS (5 * INT64_C(1000000000)) /* for the last answers, after the server has ended */

void px_worker_say(const char *format, ...)
{
    char text[800];
    va_list args;
    va_start(args, format);
    int length = snprintf(text, sizeof text, "pyexec worker: ");
    vsnprintf(text + length, sizeof text - (size_t)length - 1, format, args);
    va_end(args);
    for (char *at = text; *at; at++) /* a server of NATS may send anything */
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    size_t end = strlen(text);
    text[end] = '\n';
    (void)!px_write_all(STDERR_FILENO, text, end + 1);
}

void px_worker_ready(struct px_worker *worker)
{
    px_worker_say("node %s serves", worker->node);
    px_service_notify("READY=1");
}

void px_worker_drain(struct px_worker *worker)
{
    if (worker->draining)
        return;
    px_service_notify("STOPPING=1");
    px_load_drain(worker);
}

void px_worker_fail(struct px_worker *worker, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    px_worker_say("%s", text);
    worker->status = WORKER_FAILED;
    worker->closing = true;
    px_worker_drain(worker);
}

/* ---- Signals ---- */

static void on_stop(evutil_socket_t number, short what, void *closure)
{
    struct px_worker *worker = closure;
    (void)what;
    if (worker->draining && worker->server > 1) { /* the second signal: the server ends its runs */
        kill(worker->server, (int)number);
        return;
    }
    px_worker_say("draining");
    px_worker_drain(worker);
}

static void on_reload(evutil_socket_t number, short what, void *closure)
{
    const struct px_worker *worker = closure;
    (void)what;
    if (worker->server > 1)
        kill(worker->server, (int)number);
}

static void on_child(evutil_socket_t number, short what, void *closure)
{
    struct px_worker *worker = closure;
    int status;
    (void)number;
    (void)what;
    if (worker->server <= 1 || px_waitpid(worker->server, &status, WNOHANG) != worker->server)
        return;
    worker->server = 0;
    px_peers_bye(worker); /* its sessions are gone */
    worker->told_ns = px_now_ns();
    if (worker->told && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (WIFSIGNALED(status))
        px_worker_fail(worker, "the server was killed by signal %d; the worker ends, its sessions are lost",
                       WTERMSIG(status));
    else
        px_worker_fail(worker, "the server ended with status %d; the worker ends, its sessions are lost",
                       WEXITSTATUS(status));
}

/* ---- The loop ---- */

static void on_tick(evutil_socket_t fd, short what, void *closure)
{
    struct px_worker *worker = closure;
    int64_t now = px_now_ns();
    (void)fd;
    (void)what;
    on_child(0, 0, worker);   /* the server may have ended before this program could get the signal */
    px_link_read_all(worker); /* drained subscriptions */
    px_ask_tick(worker, now);
    px_peers_tick(worker, now);
    px_node_tick(worker, now);
    px_sessions_tick(worker, now);
    px_load_tick(worker, now);
    px_figures_tick(worker);
}

/* True when nothing is left to do. */
static bool is_over(struct px_worker *worker)
{
    if (!worker->draining)
        return false;
    if (!worker->told && (px_load_is_drained(worker) || worker->closing) && worker->server > 1) {
        worker->told = true;
        kill(worker->server, SIGTERM);
    }
    if (worker->server > 1)
        return false;
    /* After a failure the entries stay, so that the next `open` says that the session is lost. */
    bool left = worker->status || !worker->link.connected || px_sessions_leave(worker);
    bool idle = left && !worker->requests && natsConnection_Buffered(worker->link.connection) <= 0;
    return idle || px_now_ns() - worker->told_ns > WORKER_LAST_NS;
}

static void serve(struct px_worker *worker)
{
    while (!is_over(worker)) {
        px_link_watch(worker);
        event_base_loop(worker->base, EVLOOP_ONCE);
        px_node_http_reap(worker);
        px_node_sweep(worker);
    }
}

/* ---- The start and the end ---- */

static int read_config(struct px_worker *worker)
{
    px_auto_buffer struct px_buffer text = {0};
    if (px_read_all(STDIN_FILENO, &text, WORKER_CONFIG_MAX) < 0)
        return -1;
    json_t *config = worker->config = px_json_loadb(px_buffer_shown(&text), px_buffer_length(&text), 0, NULL);
    worker->node = json_string_value(json_object_get(config, "node"));
    worker->queue = json_string_value(json_object_get(config, "queue"));
    worker->principal = json_string_value(json_object_get(config, "principal"));
    worker->socket = json_string_value(json_object_get(config, "socket"));
    worker->server = (pid_t)json_integer_value(json_object_get(config, "server"));
    worker->turns = json_integer_value(json_object_get(config, "turns"));
    worker->replicas = json_integer_value(json_object_get(config, "replicas"));
    worker->full_at = json_integer_value(json_object_get(config, "full_at"));
    worker->idle_seconds = json_integer_value(json_object_get(config, "idle_seconds"));
    worker->labels = json_object_get(config, "labels");
    const json_t *figures = json_object_get(config, "figures");
    px_auto_fd int nothing = px_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
    return worker->node && worker->queue && worker->socket && worker->server > 1 && json_is_object(worker->labels) &&
                   json_is_integer(figures) && px_figures_open(worker, (int)json_integer_value(figures)) == 0 &&
                   nothing >= 0 && dup2(nothing, STDIN_FILENO) == STDIN_FILENO
               ? 0
               : -1;
}

static int catch (struct px_worker *worker, struct event **ret, int number, event_callback_fn fn)
{
    *ret = evsignal_new(worker->base, number, fn, worker);
    return *ret ? event_add(*ret, NULL) : -1;
}

static int open_worker(struct px_worker *worker)
{
    const struct timeval tick = {.tv_usec = PX_NODE_TICK_MS * 1000};
    time_t now = time(NULL);
    struct tm parts;
    strftime(worker->started, sizeof worker->started, "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&now, &parts));
    worker->base = event_base_new();
    worker->peers = json_object();
    worker->unkept = json_object();
    if (!worker->base || !worker->peers || !worker->unkept || px_trace_make_id(worker->boot, PX_NODE_ID_SIZE - 1) < 0)
        return -1;
    worker->list_ns = worker->load_ns = -(INT64_C(1) << 60);
    worker->tick = event_new(worker->base, -1, EV_PERSIST, on_tick, worker);
    if (!worker->tick || event_add(worker->tick, &tick) < 0 ||
        catch (worker, &worker->on_signal[0], SIGTERM, on_stop) < 0 ||
        catch (worker, &worker->on_signal[1], SIGINT, on_stop) < 0 ||
        catch (worker, &worker->on_signal[2], SIGHUP, on_reload) < 0 ||
        catch (worker, &worker->on_child, SIGCHLD, on_child) < 0 || px_node_http_open(worker) < 0 ||
        px_load_open(worker) < 0 || px_sessions_init(worker) < 0)
        return -1;
    return px_link_open(worker);
}

static void free_event(struct event *event)
{
    if (event)
        event_free(event);
}

static void close_worker(struct px_worker *worker)
{
    if (worker->server > 1) {
        kill(worker->server, SIGTERM);
        (void)!px_waitpid(worker->server, NULL, 0);
    }
    while (worker->requests) {
        px_node_abandon(worker->requests);
        px_node_sweep(worker);
    }
    px_ask_free(worker);
    px_peers_free(worker);
    px_sessions_done(worker);
    px_load_close(worker);
    px_link_close(worker);
    px_node_http_close(worker);
    for (size_t i = 0; i < PX_COUNT(worker->on_signal); i++)
        free_event(worker->on_signal[i]);
    free_event(worker->on_child);
    free_event(worker->tick);
    if (worker->base)
        event_base_free(worker->base);
    px_figures_close(worker);
    json_decref(worker->environments);
    json_decref(worker->unkept);
    json_decref(worker->config);
}

int main(void)
{
    static struct px_worker worker;
    px_libexec_hide(); /* it knows how to reach the NATS server */
    worker.link.socket = worker.link.watched = worker.link.wake_fd = -1;
    if (read_config(&worker) < 0) {
        px_worker_say("only `pyexec worker` starts this program");
        return WORKER_FAILED;
    }
    if (open_worker(&worker) == 0)
        serve(&worker);
    else
        worker.status = WORKER_FAILED;
    close_worker(&worker);
    return worker.status;
}
