/* SPDX-License-Identifier: Apache-2.0 */
/* The file of servers, in the form that MCP clients share: {"mcpServers": {NAME: {"command", "args", "env", "cwd", "approval"}}}.
 * The operator writes it. Keys of other clients (such as autoApprove) are ignored. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/utf8.h"
#include "mcp_client/client_private.h"

#define FILE_BYTES_MAX (1u << 20)
#define SECRET_MIN 8 /* bytes; a shorter value is not treated as a secret: replacing it would change many other texts */
#define HINT \
    "Write {\"mcpServers\": {\"NAME\": {\"command\": \"...\", \"args\": [], \"env\": {}}}}, or {\"url\": \"...\", " \
    "\"headers\": {}} for a server over HTTP."

/* The variables of pyexec's environment that every server gets. The MCP SDKs pass on the same variables. */
static const char *const inherited[] = {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG"};

int px_client_entry_refuse(const char *name, const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "mcpServers: %.100s: %s", name, what);
    return px_error_hint(error, HINT);
}

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

static void free_entries(struct px_client_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free(entries->items[i].name);
        free(entries->items[i].folder);
        free(entries->items[i].greeting);
        json_decref(entries->items[i].approval);
        free_list(entries->items[i].arguments);
        free_list(entries->items[i].environment);
    }
    free(entries->items);
}

char *px_client_entry_expand(const char *text, json_t *values, struct px_buffer *missing)
{
    px_auto_buffer struct px_buffer out = {0};
    while (*text) {
        const char *end = text[0] == '$' && text[1] == '{' ? strchr(text, '}') : NULL;
        if (!end) {
            px_buffer_add_byte(&out, *text++);
            continue;
        }
        px_auto_free char *name = strndup(text + 2, (size_t)(end - text) - 2);
        char *other = name ? strstr(name, ":-") : NULL;
        if (other)
            *other = '\0';
        const char *value = name ? getenv(name) : NULL;
        px_buffer_add_string(&out, value ? value : other ? other + 2 : "");
        out.failed |= !name;
        if (values && value && strlen(value) >= SECRET_MIN)
            px_json_append(values, json_string(value));
        if (missing && name && !value && !other && !missing->length)
            px_buffer_add_string(missing, name);
        text = end + 1;
    }
    px_buffer_add(&out, "", 0);
    return px_buffer_ok(&out) ? strdup(px_buffer_shown(&out)) : NULL;
}

static char *expand(const char *text)
{
    return px_client_entry_expand(text, NULL, NULL);
}

bool px_client_entry_is_text(const json_t *value)
{
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static int read_arguments(struct px_client_entry *entry, const json_t *object, pyexec_error *error)
{
    const json_t *command = json_object_get(object, "command"), *list = json_object_get(object, "args");
    size_t i;
    json_t *argument;
    if (json_object_get(object, "url"))
        return px_client_http_read(entry, object, error);
    if (!px_client_entry_is_text(command) || !*json_string_value(command) || (list && !json_is_array(list)))
        return px_client_entry_refuse(entry->name, "command is not a string, or args not a list", error);
    entry->arguments = calloc(json_array_size(list) + 2, sizeof(char *));
    if (!entry->arguments || !(entry->arguments[0] = expand(json_string_value(command))))
        return px_error_oom(error);
    json_array_foreach(list, i, argument) {
        if (!px_client_entry_is_text(argument))
            return px_client_entry_refuse(entry->name, "args are not strings", error);
        if (!(entry->arguments[i + 1] = expand(json_string_value(argument))))
            return px_error_oom(error);
    }
    return 0;
}

int px_client_entry_put(struct px_client_entry *entry, size_t *count, const char *name, const char *value,
                        pyexec_error *error)
{
    size_t length = strlen(name), i = 0;
    struct px_buffer text = {0};
    px_buffer_printf(&text, "%s=%s", name, value);
    char *whole = px_buffer_take(&text);
    if (!whole)
        return px_error_oom(error);
    while (i < *count && (strncmp(entry->environment[i], name, length) != 0 || entry->environment[i][length] != '='))
        i++;
    *count += i == *count;
    free(entry->environment[i]);
    entry->environment[i] = whole;
    return 0;
}

static int read_environment(struct px_client_entry *entry, const json_t *object, pyexec_error *error)
{
    json_t *given = json_object_get(object, "env"), *value;
    const char *name;
    size_t count = 0;
    if (given && !json_is_object(given))
        return px_client_entry_refuse(entry->name, "env is not an object", error);
    entry->environment =
        calloc(PX_COUNT(inherited) + PX_CLIENT_HTTP_VARIABLES + json_object_size(given) + 1, sizeof(char *));
    if (!entry->environment)
        return px_error_oom(error);
    for (size_t i = 0; i < PX_COUNT(inherited); i++)
        if (getenv(inherited[i]) && px_client_entry_put(entry, &count, inherited[i], getenv(inherited[i]), error) < 0)
            return -1;
    if (entry->greeting)
        return px_client_http_environment(entry, &count, error);
    json_object_foreach(given, name, value) {
        if (!px_client_entry_is_text(value) || !*name || strchr(name, '='))
            return px_client_entry_refuse(entry->name, "env has a name or a value that can't be a variable's", error);
        px_auto_free char *expanded = expand(json_string_value(value));
        if (!expanded)
            return px_error_oom(error);
        if (px_client_entry_put(entry, &count, name, expanded, error) < 0)
            return -1;
    }
    return 0;
}

/* An invalid value is refused. If it were ignored, calls would be made without approval. */
static int read_approval(struct px_client_entry *entry, const json_t *object, pyexec_error *error)
{
    size_t i;
    json_t *approval = json_object_get(object, "approval"), *name;
    bool good = !approval || json_is_boolean(approval) || json_is_array(approval);
    json_array_foreach(approval, i, name)
        good = good && px_client_entry_is_text(name);
    if (!good)
        return px_client_entry_refuse(entry->name, "approval must be true, false or a list of names of tools", error);
    entry->approval = json_incref(approval);
    return 0;
}

static int read_entry(struct px_client_entry *entry, const char *name, const json_t *object, pyexec_error *error)
{
    const json_t *folder = json_object_get(object, "cwd");
    entry->name = strdup(name);
    entry->folder = px_client_entry_is_text(folder) ? expand(json_string_value(folder)) : strdup("");
    if (!entry->name || !entry->folder)
        return px_error_oom(error);
    if (!json_is_object(object) || (folder && !json_is_null(folder) && !px_client_entry_is_text(folder)))
        return px_client_entry_refuse(name, "not an object, or its cwd is not a string", error);
    if (read_approval(entry, object, error) < 0 || read_arguments(entry, object, error) < 0)
        return -1;
    return read_environment(entry, object, error);
}

static int read_entries(struct px_client_entries *entries, json_t *servers, pyexec_error *error)
{
    const char *name;
    json_t *object;
    if (!json_is_object(servers) || json_object_size(servers) > PX_CLIENT_SERVERS_MAX) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "mcpServers is not an object with at most %d servers",
                     PX_CLIENT_SERVERS_MAX);
        return px_error_hint(error, HINT);
    }
    entries->items = calloc(json_object_size(servers) + 1, sizeof *entries->items);
    if (!entries->items)
        return px_error_oom(error);
    json_object_foreach(servers, name, object)
        if (!json_is_true(json_object_get(object, "disabled")) &&
            read_entry(&entries->items[entries->count++], name, object, error) < 0)
            return -1;
    return 0;
}

static int read_file(const char *path, struct px_client_entries *ret, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    json_error_t problem = {0};
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
    if (fd < 0 || px_read_all(fd, &text, FILE_BYTES_MAX) < 0)
        return px_error_of_request(error, errno, "Give a readable file of at most 1 MiB with mcpServers.",
                                   "can't read the MCP servers from '%.500s'", path);
    px_auto_json json_t *file = px_json_read(px_buffer_shown(&text), px_buffer_length(&text),
                                             JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!file && px_json_no_memory(&problem))
        return px_error_oom(error);
    if (!file) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%.300s line %d: %.300s", path, problem.line, problem.text);
        return px_error_hint(error, HINT);
    }
    json_t *servers = json_object_get(file, "mcpServers");
    if (read_entries(ret, servers ? servers : json_object_get(file, "servers"), error) < 0)
        return px_error_wrap(error, "%.300s", path);
    return 0;
}

int px_clients_file_read(const char *path, struct px_clients_file **ret, pyexec_error *error)
{
    struct px_clients_file *file = calloc(1, sizeof *file);
    if (!file)
        return px_error_oom(error);
    if (read_file(path, &file->entries, error) < 0) {
        px_clients_file_free(file);
        return -1;
    }
    *ret = file;
    return 0;
}

void px_clients_file_free(struct px_clients_file *file)
{
    if (file)
        free_entries(&file->entries);
    free(file);
}

bool px_clients_file_has(const struct px_clients_file *file, const char *names, char *missing, size_t size)
{
    for (const char *at = names, *end; *at; at = *end ? end + 1 : end) {
        end = strchrnul(at, ',');
        size_t length = (size_t)(end - at), i = 0;
        while (i < file->entries.count &&
               (strlen(file->entries.items[i].name) != length || memcmp(file->entries.items[i].name, at, length) != 0))
            i++;
        if (i == file->entries.count) {
            snprintf(missing, size, "%.*s", (int)(length < 100 ? length : 100), at);
            return false;
        }
    }
    return true;
}
