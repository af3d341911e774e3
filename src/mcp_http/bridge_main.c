/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/libexec.h"
#include "base/retry.h"
#include "mcp_http/bridge.h"

#define BRIDGE_LINE_MAX (64u << 20)
#define EXCHANGES_MAX 1024u
#define BODIES_MAX (128u << 20) /* bytes of all messages in progress; above this no further line is handled */
#define BRIDGE_READ_BYTES 65536u
#define BRIDGE_TICK_MS 200

enum { GOOD = 0, FAILED = 1 };

/* Returns scheme://host:port for error messages. They must not show the path and the query, which can have secrets. */
static char *place_of(const char *url)
{
    CURLU *handle = curl_url();
    char *place = NULL;
    if (handle && !curl_url_set(handle, CURLUPART_URL, url, 0)) {
        curl_url_set(handle, CURLUPART_USER, NULL, 0);
        curl_url_set(handle, CURLUPART_PASSWORD, NULL, 0);
        curl_url_set(handle, CURLUPART_PATH, "/", 0);
        curl_url_set(handle, CURLUPART_QUERY, NULL, 0);
        curl_url_set(handle, CURLUPART_FRAGMENT, NULL, 0);
        curl_url_get(handle, CURLUPART_URL, &place, 0);
    }
    curl_url_cleanup(handle);
    char *copy = strdup(place ? place : "the server");
    curl_free(place);
    return copy;
}

static void take_first_line(struct px_bridge *bridge, const char *line, size_t length)
{
    px_auto_json json_t *config = px_json_loadb(line, length, 0, NULL);
    const char *url = json_string_value(json_object_get(config, "url"));
    if (!url) {
        px_bridge_fail(bridge, "the first line of the input is not {\"url\", \"headers\", \"secrets\"}");
        return;
    }
    bridge->url = strdup(url);
    bridge->place = place_of(url);
    bridge->headers = json_incref(json_object_get(config, "headers"));
    bridge->secrets = json_incref(json_object_get(config, "secrets"));
    bridge->params = json_object();
    if (!bridge->url || !bridge->place || !bridge->params)
        px_bridge_fail(bridge, "pyexec has no memory for the server");
}

static bool is_held(const struct px_bridge *bridge)
{
    for (const struct px_bridge_exchange *at = bridge->exchanges; at; at = at->next)
        if (at->barrier || at->kind == PX_BRIDGE_AGAIN)
            return true;
    return bridge->count >= EXCHANGES_MAX || bridge->bytes >= BODIES_MAX;
}

static void take_lines(struct px_bridge *bridge)
{
    size_t done = 0;
    char *end;
    while (!bridge->ended && done < bridge->in.length && !is_held(bridge) &&
           (end = memchr(bridge->in.data + done, '\n', bridge->in.length - done))) {
        size_t length = (size_t)(end - (bridge->in.data + done));
        if (bridge->url)
            px_bridge_take_line(bridge, bridge->in.data + done, length);
        else
            take_first_line(bridge, bridge->in.data + done, length);
        done += length + 1;
    }
    px_buffer_consume(&bridge->in, done);
}

static void read_input(struct px_bridge *bridge)
{
    char *room = px_buffer_reserve(&bridge->in, BRIDGE_READ_BYTES);
    ssize_t n = room ? px_read(STDIN_FILENO, room, BRIDGE_READ_BYTES) : -1;
    if (n <= 0) {
        bridge->ended = true;
        return;
    }
    bridge->in.length += (size_t)n;
    bridge->in.data[bridge->in.length] = '\0';
    if (bridge->in.length > BRIDGE_LINE_MAX + BODIES_MAX)
        px_bridge_fail(bridge, "a line of the input is longer than 64 MiB");
}

static void write_output(struct px_bridge *bridge)
{
    if (!px_buffer_ok(&bridge->out))
        px_bridge_fail(bridge, "pyexec has no memory for what the server sent");
    else if (bridge->out.length && px_write_all(STDOUT_FILENO, bridge->out.data, bridge->out.length) < 0)
        bridge->ended = true;
    bridge->out.length = 0;
}

static void take_ended(struct px_bridge *bridge)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(bridge->multi, &left))) {
        char *exchange = NULL;
        CURLcode code = message->data.result;
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange) == CURLE_OK)
            px_bridge_exchange_over((struct px_bridge_exchange *)(void *)exchange, code);
    }
}

/* Ends transfers that stay open after their answer, and sends the next GET when it is due. */
static void keep_time(struct px_bridge *bridge)
{
    int64_t now = px_now_ns();
    for (struct px_bridge_exchange *at = bridge->exchanges, *next; at; at = next) {
        next = at->next;
        if (at->end_by_ns && now >= at->end_by_ns)
            px_bridge_exchange_free(at);
    }
    if (bridge->listen_at_ns && now >= bridge->listen_at_ns && *bridge->version)
        px_bridge_listen(bridge);
}

static void serve(struct px_bridge *bridge)
{
    while (!bridge->ended) {
        int running;
        struct curl_waitfd input = {STDIN_FILENO, CURL_WAIT_POLLIN, 0};
        bool timed = bridge->listen_at_ns;
        for (const struct px_bridge_exchange *at = bridge->exchanges; at; at = at->next)
            timed = timed || at->end_by_ns;
        if (curl_multi_perform(bridge->multi, &running) != CURLM_OK)
            px_bridge_fail(bridge, "libcurl failed");
        take_ended(bridge);
        keep_time(bridge);
        take_lines(bridge);
        write_output(bridge);
        bool reads = !is_held(bridge) && bridge->in.length <= BRIDGE_LINE_MAX;
        if (bridge->ended)
            break;
        (void)!curl_multi_poll(bridge->multi, &input, reads, timed ? BRIDGE_TICK_MS : 60000, NULL);
        if (reads && input.revents)
            read_input(bridge);
    }
}

/* Tells the server that the session has ended. Takes at most END_MS. */
static void end_session(struct px_bridge *bridge)
{
    int running = 1;
    while (bridge->exchanges)
        px_bridge_exchange_free(bridge->exchanges);
    struct px_bridge_exchange *last =
        *bridge->session && !*bridge->failure ? px_bridge_exchange_new(bridge, PX_BRIDGE_END, NULL, 0) : NULL;
    if (!last || px_bridge_exchange_send(last) < 0)
        return;
    while (running && curl_multi_perform(bridge->multi, &running) == CURLM_OK && running)
        (void)!curl_multi_poll(bridge->multi, NULL, 0, BRIDGE_TICK_MS, NULL);
    px_bridge_exchange_free(last);
}

static void close_bridge(struct px_bridge *bridge)
{
    while (bridge->exchanges)
        px_bridge_exchange_free(bridge->exchanges);
    curl_multi_cleanup(bridge->multi);
    px_buffer_done(&bridge->in);
    px_buffer_done(&bridge->out);
    json_decref(bridge->headers);
    json_decref(bridge->secrets);
    json_decref(bridge->params);
    free(bridge->initialize);
    free(bridge->url);
    free(bridge->place);
}

int main(void)
{
    struct px_bridge bridge = {0};
    px_libexec_hide(); /* the headers are secrets */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(bridge.multi = curl_multi_init())) {
        fprintf(stderr, "libcurl can't be used\n");
        return FAILED;
    }
    serve(&bridge);
    end_session(&bridge);
    if (*bridge.failure)
        fprintf(stderr, "%s\n", bridge.failure);
    bool failed = *bridge.failure;
    close_bridge(&bridge);
    curl_global_cleanup();
    return failed ? FAILED : GOOD;
}
