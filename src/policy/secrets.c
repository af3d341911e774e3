/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/retry.h"

#define SECRETS_FILE_MAX ((size_t)1 << 20)
#define SECRET_NAME_MAX 64
#define SECRET_HEADER_MAX 1024
#define SECRET_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define SECRET_DIGITS "0123456789"
#define SECRET_HINT \
    "Each entry has \"variable\", \"host\" (NAME or NAME:PORT), \"header\" (such as \"Authorization: Bearer {}\") and \"file\" or " \
    "\"environment\". docs/network.md has an example."

__attribute__((format(printf, 3, 4))) static int refuse(pyexec_error *error, const char *hint, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    px_error_set(error, PYEXEC_INVALID_POLICY, "[egress] secrets: %s", text);
    return px_error_hint(error, "%s", hint);
}

/* ---- The file ---- */

static int open_private(const char *path, pyexec_error *error)
{
    struct stat status;
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, &status) < 0)
        return refuse(error, "Give a file that pyexec's user can read.", "can't read '%.200s': %s", path,
                      strerror(errno));
    if (!S_ISREG(status.st_mode))
        return refuse(error, "Give the path of a file.", "'%.200s' is not a regular file", path);
    if (status.st_mode & 077)
        return refuse(error, "Run `chmod 600` on it.", "'%.200s' is open to other users than its owner (mode %03o)",
                      path, status.st_mode & 0777);
    if (status.st_uid != 0 && status.st_uid != geteuid())
        return refuse(error, "Run `chown` on it.", "'%.200s' belongs to another user (id %u), who can read it", path,
                      (unsigned)status.st_uid);
    return TAKE_FD(fd);
}

static bool is_word(const char *text, const char *first, const char *others)
{
    size_t length = strlen(text);
    return length > 0 && length <= SECRET_NAME_MAX && strchr(first, text[0]) && strspn(text, others) == length;
}

static bool is_header_name(const char *text, size_t length)
{
    return length > 0 && strspn(text, SECRET_LETTERS SECRET_DIGITS "!#$%&'*+-.^_`|~") == length;
}

/* Fields that say where a message ends, or for whom it is, or that the proxy writes itself. */
static bool is_reserved(const char *header)
{
    static const char *const names[] = {
        "host",    "content-length", "transfer-encoding", "connection",       "keep-alive",         "upgrade", "te",
        "trailer", "expect",         "accept-encoding",   "proxy-connection", "proxy-authorization"};
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (strcasecmp(header, names[i]) == 0)
            return true;
    return false;
}

static int take_header(struct px_secret_source *source, const char *text, pyexec_error *error)
{
    static const char hint[] =
        "Write it as \"NAME: VALUE\" with one {} for the secret, such as \"Authorization: Bearer {}\".";
    size_t name = strcspn(text, ":");
    const char *value = text[name] ? text + name + 1 : text + name;
    while (*value == ' ')
        value++;
    const char *place = strstr(value, "{}");
    if (!is_header_name(text, name) || !place || strstr(place + 2, "{}") || strlen(text) > SECRET_HEADER_MAX)
        return refuse(error, hint, "'%s': '%.100s' is no header with a place for the secret", source->name, text);
    for (const char *at = value; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
            return refuse(error, hint, "'%s': its header has a byte that is not printable ASCII", source->name);
    source->header = strndup(text, name);
    source->before = strndup(value, (size_t)(place - value));
    source->after = strdup(place + 2);
    if (!source->header || !source->before || !source->after)
        return px_error_oom(error);
    return is_reserved(source->header)
               ? refuse(error, "Use a header that only carries the secret.",
                        "'%s': the proxy writes the header '%s' itself", source->name, source->header)
               : 0;
}

static int take_text(const struct px_secret_source *source, const json_t *entry, const char *key, char **ret,
                     pyexec_error *error)
{
    const char *text = json_string_value(json_object_get(entry, key));
    if (!text || !*text)
        return refuse(error, SECRET_HINT, "'%s': \"%s\" is missing, or is no text", source->name, key);
    *ret = strdup(text);
    return *ret ? 0 : px_error_oom(error);
}

static int take_place(struct px_secret_source *source, const json_t *entry, pyexec_error *error)
{
    bool file = json_object_get(entry, "file") != NULL, environment = json_object_get(entry, "environment") != NULL;
    if (file == environment)
        return refuse(error, SECRET_HINT, "'%s' must have either \"file\" or \"environment\"", source->name);
    if (take_text(source, entry, file ? "file" : "environment", file ? &source->file : &source->environment, error) < 0)
        return -1;
    if (file && source->file[0] != '/')
        return refuse(error, "Give an absolute path.", "'%s': '%.200s' is no absolute path", source->name,
                      source->file);
    return 0;
}

static int take_entry(struct px_secret_source *source, const char *name, const json_t *entry, pyexec_error *error)
{
    static const char *const keys[] = {"variable", "host", "header", "file", "environment"};
    const char *key;
    json_t *value;
    source->value = -1;
    if (!is_word(name, SECRET_LETTERS SECRET_DIGITS, SECRET_LETTERS SECRET_DIGITS "._-"))
        return refuse(error, "Use 1 to 64 letters, digits, dots, dashes and underscores.", "'%.80s' can't be a name",
                      name);
    source->name = strdup(name);
    if (!source->name)
        return px_error_oom(error);
    json_object_foreach((json_t *)(uintptr_t)entry, key, value) {
        size_t i = 0;
        while (i < PX_COUNT(keys) && strcmp(keys[i], key) != 0)
            i++;
        if (i == PX_COUNT(keys))
            return refuse(error, SECRET_HINT, "'%s': the key '%.60s' is not known", name, key);
    }
    px_auto_free char *header = NULL;
    if (take_text(source, entry, "variable", &source->variable, error) < 0 ||
        take_text(source, entry, "host", &source->host, error) < 0 ||
        take_text(source, entry, "header", &header, error) < 0 || take_header(source, header, error) < 0 ||
        take_place(source, entry, error) < 0)
        return -1;
    if (!is_word(source->variable, SECRET_LETTERS "_", SECRET_LETTERS SECRET_DIGITS "_"))
        return refuse(error, SECRET_HINT, "'%s': '%.80s' can't be the name of a variable", name, source->variable);
    const char *why = px_host_entry_parse(source->host, strlen(source->host), &source->entry);
    if (why || source->entry.wildcard)
        return refuse(error, SECRET_HINT, "'%s': '%.100s' is no host of a secret: %s", name, source->host,
                      why ? why : "it has a '*', and each host must be named");
    return 0;
}

static int take_entries(const json_t *entries, struct px_secret_sources *ret, pyexec_error *error)
{
    const char *name;
    json_t *entry;
    size_t count = json_object_size(entries);
    if (count > PX_SECRETS_MAX)
        return refuse(error, "Remove some.", "the file has more than %d entries", PX_SECRETS_MAX);
    ret->items = calloc(count ? count : 1, sizeof *ret->items);
    if (!ret->items)
        return px_error_oom(error);
    json_object_foreach((json_t *)(uintptr_t)entries, name, entry) {
        if (!json_is_object(entry))
            return refuse(error, SECRET_HINT, "'%.80s' is not an object", name);
        if (take_entry(&ret->items[ret->count++], name, entry, error) < 0)
            return -1;
    }
    return 0;
}

int px_secret_sources_read(const char *path, struct px_secret_sources *ret, pyexec_error *error)
{
    static const char hint[] = "It is {\"secrets\": {NAME: {…}}}; docs/network.md has an example.";
    px_auto_buffer struct px_buffer text = {0};
    json_error_t problem;
    *ret = (struct px_secret_sources){0};
    px_auto_fd int fd = open_private(path, error);
    if (fd < 0)
        return -1;
    if (px_read_all(fd, &text, SECRETS_FILE_MAX) < 0)
        return refuse(error, hint, "can't read '%.200s': %s", path, strerror(errno));
    px_auto_json json_t *json = px_json_read(px_buffer_string(&text), text.length, JSON_REJECT_DUPLICATES, &problem);
    json_t *entries = json_object_get(json, "secrets");
    if (!json)
        return refuse(error, hint, "'%.200s' is not JSON, line %d", path, problem.line);
    if (!json_is_object(entries) || json_object_size(json) != 1)
        return refuse(error, hint, "'%.200s' is not an object with the one member \"secrets\"", path);
    if (take_entries(entries, ret, error) == 0)
        return 0;
    px_secret_sources_done(ret);
    return px_error_wrap(error, "%.200s", path);
}

void px_secret_sources_done(struct px_secret_sources *sources)
{
    for (size_t i = 0; i < sources->count; i++) {
        struct px_secret_source *source = &sources->items[i];
        free(source->name);
        free(source->variable);
        free(source->host);
        free(source->header);
        free(source->before);
        free(source->after);
        free(source->file);
        free(source->environment);
        px_close_fd(&source->value);
    }
    free(sources->items);
    *sources = (struct px_secret_sources){0};
}

/* ---- Who gets them ---- */

static int check_pair(const struct px_secret_source *one, const struct px_secret_source *other, pyexec_error *error)
{
    static const char hint[] =
        "Give each caller only one of them: secrets= in the token file, or a file with fewer entries.";
    if (strcmp(one->variable, other->variable) == 0)
        return refuse(error, hint, "'%s' and '%s' have the same variable, and one caller has both", one->name,
                      other->name);
    if (one->entry.port == other->entry.port && strcmp(one->entry.name, other->entry.name) == 0 &&
        strcasecmp(one->header, other->header) == 0)
        return refuse(error, hint, "'%s' and '%s' have the same host and header, and one caller has both", one->name,
                      other->name);
    return 0;
}

static int grant_named(const struct px_secret_sources *sources, const char *name, size_t length, bool *ret,
                       pyexec_error *error)
{
    for (size_t i = 0; i < sources->count; i++)
        if (strlen(sources->items[i].name) == length && memcmp(sources->items[i].name, name, length) == 0) {
            ret[i] = true;
            return 0;
        }
    return refuse(error, "Give names of entries of the file, with commas between them.", "there is none named '%.*s'",
                  (int)(length < 80 ? length : 80), name);
}

int px_secret_sources_grant(const struct px_secret_sources *sources, const char *names, bool *ret, pyexec_error *error)
{
    for (size_t i = 0; i < sources->count; i++)
        ret[i] = !names;
    for (const char *at = names; at && *at;) {
        size_t length = strcspn(at, ",");
        if (length && grant_named(sources, at, length, ret, error) < 0)
            return -1;
        at += length + (at[length] == ',');
    }
    for (size_t i = 0; i < sources->count; i++)
        for (size_t j = 0; ret[i] && j < i; j++)
            if (ret[j] && check_pair(&sources->items[j], &sources->items[i], error) < 0)
                return -1;
    return 0;
}

bool px_secret_source_applies(const struct px_secret_source *source, const struct px_policy *policy)
{
    for (size_t i = 0; i < policy->allowed_hosts.count; i++) {
        struct px_host_entry entry;
        const char *text = policy->allowed_hosts.items[i];
        if (!px_host_entry_parse(text, strlen(text), &entry) && px_host_entry_covers(&entry, &source->entry))
            return true;
    }
    return false;
}

/* ---- Values ---- */

static int take_variable(struct px_secret_source *source, pyexec_error *error)
{
    char *value = getenv(source->environment);
    if (!value || !*value)
        return refuse(
            error,
            "Set it for pyexec. Its value is taken once, and then overwritten in the environment of the process; so a second "
            "executor in the same process needs a file.",
            "'%s': the variable %.80s is empty or not set", source->name, source->environment);
    source->value = px_memory_file("secret", value, strlen(value));
    return source->value < 0 ? px_error_exhausted(error, errno, "can't make a memory file") : 0;
}

int px_secret_sources_take_environment(struct px_secret_sources *sources, pyexec_error *error)
{
    for (size_t i = 0; i < sources->count; i++)
        if (sources->items[i].environment && take_variable(&sources->items[i], error) < 0)
            return -1;
    /* Several entries can have the same variable. */
    for (size_t i = 0; i < sources->count; i++) {
        char *value = sources->items[i].environment ? getenv(sources->items[i].environment) : NULL;
        if (value)
            explicit_bzero(value, strlen(value));
    }
    return 0;
}

int px_secret_source_open(const struct px_secret_source *source, pyexec_error *error)
{
    if (source->file) {
        int fd = open_private(source->file, error);
        return fd < 0 ? px_error_wrap(error, "secret '%s'", source->name) : fd;
    }
    /* A descriptor of its own would share its position. */
    int fd = lseek(source->value, 0, SEEK_SET) < 0 ? -1 : fcntl(source->value, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? px_error_exhausted(error, errno, "can't give a secret to the proxy") : fd;
}
