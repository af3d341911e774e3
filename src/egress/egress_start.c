/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of the first packet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "egress/egress_private.h"
#include "egress/egress_wall.h"

#define FILES_RESERVED 64                              /* descriptors of the program itself */
#define FILES_PER_CONNECTION (2 + EGRESS_ATTEMPTS_MAX) /* the client, one that is refused, and those that connect */
#define FILES_PER_RUN 1

static int64_t number_or(const json_t *packet, const char *key, int64_t otherwise)
{
    int64_t number = json_integer_value(json_object_get(packet, key));
    return number > 0 ? number : otherwise;
}

static const char *take_networks(struct egress *egress, const json_t *networks)
{
    egress->private_count = 0;
    for (size_t i = 0; i < json_array_size(networks); i++) {
        const char *text = json_string_value(json_array_get(networks, i));
        if (i == PX_EGRESS_PRIVATE_MAX || !text ||
            !px_ip_network_parse(text, strlen(text), &egress->private_networks[i]))
            return "allow_private has something that is no network, or is too long";
        egress->private_count++;
    }
    return NULL;
}

static int hex_value(char digit)
{
    const char *digits = "0123456789abcdef";
    const char *at = digit ? strchr(digits, digit >= 'A' && digit <= 'F' ? digit + 'a' - 'A' : digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes %40 and the like, in place. */
static bool decode_percent(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_value(from[1]), low = high < 0 ? -1 : hex_value(from[2]);
        if (low < 0 || high * 16 + low < ' ')
            return false;
        *to++ = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
    return true;
}

/* RFC 7617: USER:PASSWORD in base64. */
static bool take_login(struct egress *egress, const char *login, size_t length)
{
    char text[EGRESS_UPSTREAM_AUTH_MAX / 2];
    if (length >= sizeof text)
        return false;
    memcpy(text, login, length);
    text[length] = '\0';
    if (!decode_percent(text))
        return false;
    px_auto_buffer struct px_buffer encoded = {0};
    px_buffer_add_string(&encoded, "Basic ");
    px_base64_encode(&encoded, text, strlen(text));
    explicit_bzero(text, sizeof text);
    if (!px_buffer_ok(&encoded) || encoded.length >= sizeof egress->upstream_auth)
        return false;
    memcpy(egress->upstream_auth, px_buffer_string(&encoded), encoded.length + 1);
    return true;
}

/* http://[USER:PASSWORD@]HOST:PORT[/]. The message must not have the address: it may have a password. */
static const char *take_upstream(struct egress *egress, const char *url)
{
    static const char bad[] =
        "upstream is no address such as http://proxy.example:3128 or http://USER:PASSWORD@proxy.example:3128";
    if (strncmp(url, "http://", 7) != 0)
        return bad;
    const char *host = url + 7, *end = host + strcspn(host, "/"), *at = memrchr(host, '@', (size_t)(end - host));
    if (end[0] && end[1])
        return bad;
    if (at && !take_login(egress, host, (size_t)(at - host)))
        return bad;
    host = at ? at + 1 : host;
    const char *colon = memrchr(host, ':', (size_t)(end - host));
    egress->upstream_port = colon ? px_host_port_parse(colon + 1, (size_t)(end - colon - 1)) : 0;
    if (!egress->upstream_port)
        return bad;
    const char *last = colon;
    if (*host == '[' && last[-1] == ']') {
        host++;
        last--;
    }
    size_t length = (size_t)(last - host);
    if (length == 0 || length > PX_HOST_NAME_MAX)
        return bad;
    memcpy(egress->upstream_host, host, length);
    egress->upstream_host[length] = '\0';
    return NULL;
}

/* Each run and each connection needs descriptors. */
static void raise_files(struct egress *egress)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    size_t most = files.rlim_cur > FILES_RESERVED ? (size_t)(files.rlim_cur - FILES_RESERVED) : 0;
    most /= FILES_PER_CONNECTION + FILES_PER_RUN;
    if (egress->max_connections > most)
        egress->max_connections = most ? most : 1;
}

const char *px_egress_start(struct egress *egress, const json_t *packet, char *why, size_t why_size)
{
    const char *upstream = json_string_value(json_object_get(packet, "upstream"));
    egress->request_timeout_ms = number_or(packet, "request_timeout_ms", PX_EGRESS_REQUEST_TIMEOUT_MS);
    egress->resolve_timeout_ms = number_or(packet, "resolve_timeout_ms", PX_EGRESS_RESOLVE_TIMEOUT_MS);
    egress->connect_timeout_ms = number_or(packet, "connect_timeout_ms", PX_EGRESS_CONNECT_TIMEOUT_MS);
    egress->idle_timeout_ms = number_or(packet, "idle_timeout_ms", PX_EGRESS_IDLE_TIMEOUT_MS);
    egress->max_connections = (size_t)number_or(packet, "max_connections", PX_EGRESS_CONNECTIONS);
    egress->max_run_connections = (size_t)number_or(packet, "max_run_connections", PX_EGRESS_RUN_CONNECTIONS);
    const char *problem = take_networks(egress, json_object_get(packet, "allow_private"));
    if (!problem && upstream)
        problem = take_upstream(egress, upstream);
    if (problem)
        return problem;
    raise_files(egress);
    px_egress_resolve_start(egress);
    return px_egress_wall_enter(json_object_get(packet, "uid"), json_object_get(packet, "gid"), &egress->missing, why,
                                why_size);
}
