/* SPDX-License-Identifier: Apache-2.0 */
/* A server over HTTP: {"url", "headers"}. Its command is pyexec-mcp-http (src/mcp_http). That program gets the address and the
 * headers in its first line of input, because other programs of the user can see its arguments and environment. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/libexec.h"
#include "base/spelling.h"
#include "mcp_client/client_private.h"

#define PROGRAM "pyexec-mcp-http"
#define HEADERS_MAX 64u
#define HEADER_BYTES_MAX 16384u
#define SECRET_LENGTH_MIN 8u

/* Variables that libcurl reads: the machine's proxies and certificate authorities. The last three are for sanitizers. */
static const char *const variables[PX_CLIENT_HTTP_VARIABLES] = {
    "http_proxy", "https_proxy",  "HTTPS_PROXY",   "all_proxy",    "ALL_PROXY",    "no_proxy",
    "NO_PROXY",   "SSL_CERT_DIR", "SSL_CERT_FILE", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"};

/* Headers that the protocol sets, in lower case. An entry must not set them. */
static const char own_headers[] = "accept connection content-length content-type expect host mcp-method mcp-name "
                                  "mcp-protocol-version mcp-session-id te trailer transfer-encoding upgrade ";

__attribute__((format(printf, 3, 4))) static int refuse(const struct px_client_entry *entry, pyexec_error *error,
                                                        const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return px_client_entry_refuse(entry->name, text, error);
}

/* Returns the text with its variables replaced. Returns NULL and sets *error when it is not a string, has control characters,
 * or a variable is not set. */
static char *expand(const struct px_client_entry *entry, const char *what, const json_t *value, json_t *secrets,
                    pyexec_error *error)
{
    px_auto_buffer struct px_buffer missing = {0};
    if (!px_client_entry_is_text(value)) {
        refuse(entry, error, "%.80s is not a string", what);
        return NULL;
    }
    char *text = px_client_entry_expand(json_string_value(value), secrets, &missing);
    if (!text || !px_buffer_ok(&missing)) {
        free(text);
        px_error_oom(error);
        return NULL;
    }
    const char *at = text;
    while ((unsigned char)*at >= 0x20 && *at != 0x7F)
        at++;
    if (px_buffer_length(&missing))
        refuse(entry, error, "the environment has no variable %.80s", px_buffer_shown(&missing));
    else if (*at)
        refuse(entry, error, "%.80s has characters that are not allowed", what);
    else if (strlen(text) > HEADER_BYTES_MAX)
        refuse(entry, error, "%.80s is longer than 16 KiB", what);
    else
        return text;
    free(text);
    return NULL;
}

static bool is_secret_name(const char *name)
{
    static const char *const parts[] = {"auth", "token", "key", "secret", "cookie", "password"};
    for (size_t i = 0; i < PX_COUNT(parts); i++)
        if (strcasestr(name, parts[i]))
            return true;
    return false;
}

/* Adds the value of a header to the secrets, and also the part after its first word ("Bearer ..."). */
static void note_secret(json_t *secrets, const char *value)
{
    const char *space = strchr(value, ' ');
    if (strlen(value) >= SECRET_LENGTH_MIN)
        px_json_append(secrets, json_string(value));
    if (space && strlen(space + 1) >= SECRET_LENGTH_MIN)
        px_json_append(secrets, json_string(space + 1));
}

static bool is_header_name(const char *name)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t length = strlen(name);
    return length && length <= 200 && strspn(name, allowed) == length;
}

static bool is_own_header(const char *name)
{
    char lower[64];
    size_t length = strlen(name);
    if (length >= sizeof lower)
        return false;
    for (size_t i = 0; i <= length; i++)
        lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 0x20) : name[i];
    return px_word_is_listed(own_headers, lower);
}

static int read_headers(const struct px_client_entry *entry, json_t *given, json_t *headers, json_t *secrets,
                        pyexec_error *error)
{
    const char *name;
    json_t *value;
    if (given && (!json_is_object(given) || json_object_size(given) > HEADERS_MAX))
        return refuse(entry, error, "%s is not an object with at most 64 headers", "headers");
    json_object_foreach(given, name, value) {
        char what[96];
        if (!is_header_name(name))
            return refuse(entry, error, "headers: '%.80s' can't be a header's name", name);
        if (is_own_header(name))
            return refuse(entry, error, "headers: %.80s is set by pyexec", name);
        snprintf(what, sizeof what, "headers: the value of %.60s", name);
        px_auto_free char *text = expand(entry, what, value, secrets, error);
        if (!text)
            return -1;
        if (is_secret_name(name))
            note_secret(secrets, text);
        px_json_set(headers, name, json_string(text));
    }
    return 0;
}

/* Only Streamable HTTP is supported: a POST for each message. */
static int check_type(const struct px_client_entry *entry, const json_t *object, pyexec_error *error)
{
    static const char *const keys[] = {"type", "transport"};
    if (json_object_get(object, "command"))
        return refuse(entry, error, "has a command and a %s: give one of them", "url");
    for (size_t i = 0; i < PX_COUNT(keys); i++) {
        const char *type = json_string_value(json_object_get(object, keys[i]));
        if (type && !px_word_is_listed("http streamable-http streamableHttp streamable_http", type))
            return refuse(
                entry, error,
                strcmp(type, "sse") == 0
                    ? "type %s is the transport of revision 2024-11-05, which pyexec does not support: give the "
                      "address of Streamable HTTP, and the type http"
                    : "the type of a server with a url can't be '%.40s': write http",
                type);
    }
    return 0;
}

int px_client_http_read(struct px_client_entry *entry, const json_t *object, pyexec_error *error)
{
    px_auto_json json_t *headers = json_object(), *secrets = json_array();
    if (check_type(entry, object, error) < 0)
        return -1;
    px_auto_free char *url = expand(entry, "url", json_object_get(object, "url"), secrets, error);
    if (!url)
        return -1;
    bool web = strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
    if (!web || strchr(url, ' '))
        return refuse(entry, error, "%s must begin with http:// or https:// and have no spaces", "url");
    if (read_headers(entry, json_object_get(object, "headers"), headers, secrets, error) < 0)
        return -1;
    px_auto_free char *program = px_libexec_find(PROGRAM, X_OK);
    if (!program)
        return refuse(entry, error,
                      "url: servers over HTTP need %s, which is missing: install pyexec as a package, or build it with "
                      "libcurl; the program in the jar and in the Python package can't use servers over HTTP",
                      PROGRAM);
    entry->greeting =
        px_json_take_text(json_pack("{s:s, s:O, s:O}", "url", url, "headers", headers, "secrets", secrets));
    entry->arguments = calloc(2, sizeof(char *));
    if (!entry->greeting || !entry->arguments)
        return px_error_oom(error);
    entry->arguments[0] = TAKE_PTR(program);
    return 0;
}

int px_client_http_environment(struct px_client_entry *entry, size_t *count, pyexec_error *error)
{
    for (size_t i = 0; i < PX_COUNT(variables); i++)
        if (getenv(variables[i]) && px_client_entry_put(entry, count, variables[i], getenv(variables[i]), error) < 0)
            return -1;
    return 0;
}
