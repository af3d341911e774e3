/* SPDX-License-Identifier: Apache-2.0 */
#include "jsonrpc/line_server.h"

#include <stddef.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"

#define READER_STACK (2u << 20) /* parsing the deepest JSON that is accepted needs half of it at most */

static void finish(struct px_line_server *server)
{
    pthread_mutex_lock(&server->end_lock);
    server->has_ended = true;
    pthread_cond_signal(&server->ended);
    pthread_mutex_unlock(&server->end_lock);
}

int px_line_server_reserve(struct px_line_server *server)
{
    return px_crew_reserve(server->crew);
}

void px_line_server_let_go(struct px_line_server *server)
{
    bool more = server->always_readable || px_line_reader_has_line(&server->reader);
    pthread_mutex_unlock(&server->lock);
    px_crew_give_back(server->crew, more ? &server->rest : &server->input);
}

/* Takes lines until one of them leads to a task, which this thread then runs. Called with the lock, and returns without it. */
static void serve_lines(struct px_line_server *server)
{
    const struct px_line_transport *lines = server->reader.lines;
    while (!lines->stopping && !lines->output_gone && px_line_reader_take(&server->reader))
        if (px_tasks_run_here(server->tasks))
            return;
    if (!lines->stopping && !lines->output_gone) {
        px_line_server_let_go(server);
        return;
    }
    pthread_mutex_unlock(&server->lock);
    finish(server);
}

static void read_and_serve(struct px_line_server *server)
{
    if (px_line_reader_fill(&server->reader)) {
        serve_lines(server);
        return;
    }
    pthread_mutex_unlock(&server->lock);
    finish(server);
}

static void input_ready(struct px_crew_source *source)
{
    struct px_line_server *server = (struct px_line_server *)((char *)source - offsetof(struct px_line_server, input));
    pthread_mutex_lock(&server->lock);
    read_and_serve(server);
}

static void rest_ready(struct px_crew_source *source)
{
    struct px_line_server *server = (struct px_line_server *)((char *)source - offsetof(struct px_line_server, rest));
    pthread_mutex_lock(&server->lock);
    if (px_line_reader_has_line(&server->reader))
        serve_lines(server);
    else
        read_and_serve(server);
}

static void stop_ready(struct px_crew_source *source)
{
    struct px_line_server *server = (struct px_line_server *)((char *)source - offsetof(struct px_line_server, stop));
    server->reader.lines->stopping = true;
    finish(server);
}

static int open_crew(struct px_line_server *server, int input, int stop, pyexec_error *error)
{
    server->input = (struct px_crew_source){input, input_ready};
    server->rest = (struct px_crew_source){eventfd(1, EFD_CLOEXEC), rest_ready};
    server->stop = (struct px_crew_source){stop, stop_ready};
    if (server->rest.fd < 0 || px_crew_new(READER_STACK, &server->crew, error) < 0)
        return -1;
    server->tasks->server = server;
    if (px_crew_add(server->crew, &server->rest, false, error) < 0 ||
        (stop >= 0 && px_crew_add(server->crew, &server->stop, true, error) < 0))
        return -1;
    if (px_crew_add(server->crew, &server->input, true, error) < 0) {
        server->always_readable = true;
        px_crew_give_back(server->crew, &server->rest);
    }
    return 0;
}

static void end_crew(struct px_line_server *server)
{
    px_crew_free(server->crew); /* its threads use the pointer until they have ended */
    server->crew = NULL;
    server->tasks->server = NULL;
    px_close_fd(&server->rest.fd);
}

void px_line_server_run(struct px_line_server *server, struct px_line_transport *lines, struct px_tasks *tasks,
                        int input, px_line_fn take, void *closure)
{
    pyexec_error ignored;
    *server = (struct px_line_server){.reader = {.lines = lines, .input = input, .take = take, .closure = closure},
                                      .tasks = tasks};
    pthread_mutex_init(&server->lock, NULL);
    pthread_mutex_init(&server->end_lock, NULL);
    pthread_cond_init(&server->ended, NULL);
    if (open_crew(server, input, lines->stop, &ignored) < 0) { /* there are no threads or descriptors */
        end_crew(server);
        px_line_transport_read(lines, input, take, closure);
        return;
    }
    pthread_mutex_lock(&server->end_lock);
    while (!server->has_ended)
        pthread_cond_wait(&server->ended, &server->end_lock);
    pthread_mutex_unlock(&server->end_lock);
}

void px_line_server_end(struct px_line_server *server)
{
    end_crew(server);
    px_line_reader_done(&server->reader);
    pthread_cond_destroy(&server->ended);
    pthread_mutex_destroy(&server->end_lock);
    pthread_mutex_destroy(&server->lock);
}
