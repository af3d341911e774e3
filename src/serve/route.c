/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/spelling.h"
#include "base/utf8.h"
#include "policy/config.h"
#include "serve/server.h"

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

int px_decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || (high == 0 && low == 0))
            return -1;
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    return 0;
}

/* Compares segment by segment. "{path}" matches the rest of the path, which must not be empty. */
static bool matches(const char *pattern, const char *path, const char **ret_session, size_t *ret_length,
                    const char **ret_rest)
{
    for (;;) {
        if (*pattern == '{' && strncmp(pattern, "{path}", 6) == 0) {
            *ret_rest = path;
            return *path != '\0';
        }
        if (*pattern == '{') {
            size_t length = strcspn(path, "/");
            *ret_session = path;
            *ret_length = length;
            if (!length)
                return false;
            path += length;
            pattern = strchr(pattern, '}') + 1;
            continue;
        }
        if (*pattern != *path)
            return false;
        if (!*pattern)
            return true;
        pattern++;
        path++;
    }
}

int px_route_find(struct px_http_request *request, char *allowed, size_t size)
{
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    for (size_t i = 0; i < px_route_count; i++) {
        const char *session = NULL, *rest = NULL;
        size_t length = 0;
        if (px_routes[i].dialects && !(px_routes[i].dialects & request->server->dialects))
            continue;
        if (px_routes[i].fleet && !request->server->options->fleet)
            continue;
        if (!matches(px_routes[i].path, request->path, &session, &length, &rest))
            continue;
        if (strcmp(px_routes[i].method, method) == 0) {
            request->route = &px_routes[i];
            char **name = px_routes[i].no_session ? &request->named : &request->session;
            *name = session ? strndup(session, length) : NULL;
            request->rest = rest ? request->path + (rest - request->path) : NULL;
            return session && !*name ? -1 : 0;
        }
        size_t used = strlen(allowed);
        snprintf(allowed + used, size - used, "%s%s%s", used ? ", " : "", px_routes[i].method,
                 strcmp(px_routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    return -1;
}

int px_route_decode(struct px_http_request *request)
{
    char *const parts[] = {request->session, request->named, request->rest};
    for (size_t i = 0; i < PX_COUNT(parts); i++)
        if (parts[i] && px_decode(parts[i]) < 0)
            return -1;
    return request->rest && !px_utf8_valid(request->rest, strlen(request->rest), NULL) ? -1 : 0;
}

const char *px_route_allow(struct px_http_request *request)
{
    static _Thread_local char allowed[64];
    *allowed = '\0';
    px_route_find(request, allowed, sizeof allowed);
    return allowed;
}

int px_route_session(struct px_http_request *request)
{
    const char *id = request->session;
    if (!id)
        return 0;
    if (!px_word_is_session_id(id, strlen(id), PX_SESSION_ID_MAX))
        return -1;
    return asprintf(&request->session_key, "%s/%s", request->principal->name, id) < 0 ? -1 : 0;
}

/* ---- Against DNS rebinding: a page of another site whose name points to this server ---- */

/* Returns the length of the name without the port, and without the brackets of an IPv6 address. */
static size_t host_part(const char **host)
{
    if (**host == '[') {
        (*host)++;
        return strcspn(*host, "]");
    }
    return strcspn(*host, ":");
}

static bool is_address(const char *host, size_t length)
{
    return (length && strspn(host, "0123456789.") >= length) ||
           (memchr(host, ':', length) && strspn(host, "0123456789abcdefABCDEF:.%") >= length);
}

static bool same(const char *text, size_t length, const char *name)
{
    return strlen(name) == length && strncasecmp(text, name, length) == 0;
}

bool px_host_allowed(const struct px_listener *listener, const char *host)
{
    if (!listener->tcp)
        return true;
    if (!host)
        return false;
    size_t length = host_part(&host);
    /* DNS rebinding needs a name, so an address is accepted. */
    if (is_address(host, length) || same(host, length, "localhost") || same(host, length, listener->host))
        return true;
    const struct px_strings *names = &listener->server->options->config->allowed_hosts;
    for (size_t i = 0; i < names->count; i++)
        if (same(host, length, names->items[i]))
            return true;
    return false;
}

bool px_origin_allowed(const struct px_listener *listener, const char *origin, const char *host)
{
    if (!origin)
        return true;
    /* The server's own page. */
    const char *after = strstr(origin, "://");
    if (after && host && strcasecmp(after + 3, host) == 0)
        return true;
    const struct px_strings *origins = &listener->server->options->config->allowed_origins;
    for (size_t i = 0; i < origins->count; i++)
        if (strcasecmp(origin, origins->items[i]) == 0)
            return true;
    return false;
}
