/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/principal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/retry.h"
#include "policy/fields.h"
#include "policy/policy.h"
#include "policy/requirement.h"

#define FILE_MAX_BYTES (4u << 20)
#define NAME_HINT "Use 1 to 64 letters, digits, dots, dashes and underscores; `local` and `loopback` are taken."
#define HASH_HINT \
    "Write NAME sha256:HEX, HEX being the 64 digits that `printf %s TOKEN | sha256sum` prints; or NAME - for a principal that only comes over NATS."
#define PAIR_HINT \
    "After the hash come key=value pairs: rate, max_concurrent, max_sessions, mcp_servers, secrets, allow_requests, or a key of the policy."
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

/* Reports an error in a line, with a hint that says what is right. */
__attribute__((format(printf, 3, 4))) static int refuse(pyexec_error *error, const char *hint, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    px_error_set(error, PYEXEC_INVALID_POLICY, "%s", text);
    return px_error_hint(error, "%s", hint);
}

static void free_principal(struct px_principal *principal)
{
    json_decref(principal->ceiling);
    free(principal->servers);
    free(principal->secrets);
    free(principal->packages);
    free(principal);
}

static int parse_hash(struct px_principal *principal, const char *text)
{
    principal->without_token = strcmp(text, "-") == 0;
    if (principal->without_token)
        return 0;
    static const char digits[] = "0123456789abcdef";
    if (strncmp(text, "sha256:", 7) != 0 || strlen(text) != 7 + 64)
        return -1;
    for (size_t i = 0; i < 32; i++) {
        const char *high = strchr(digits, text[7 + 2 * i] | 0x20);
        const char *low = strchr(digits, text[8 + 2 * i] | 0x20);
        if (!high || !low)
            return -1;
        principal->token_hash[i] = (unsigned char)((high - digits) << 4 | (low - digits));
    }
    return 0;
}

static int parse_number(const char *text, double maximum, double *ret)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (errno || end == text || *end || !(value > 0 && value <= maximum))
        return -1;
    *ret = value;
    return 0;
}

/* Parses one key=value: a limit of the server, or a key of the policy. */
static int parse_setting(struct px_principal *principal, struct px_policy *ceiling, const char *key, const char *value,
                         pyexec_error *error)
{
    double number = 0;
    if (strcmp(key, "mcp_servers") == 0) {
        free(principal->servers);
        principal->servers = strdup(value);
        return principal->servers ? 0 : px_error_oom(error);
    }
    if (strcmp(key, "secrets") == 0) {
        free(principal->secrets);
        principal->secrets = strdup(value);
        return principal->secrets ? 0 : px_error_oom(error);
    }
    if (strcmp(key, "allow_requests") == 0) {
        px_auto(px_strings_done) struct px_strings checked = {0};
        free(principal->packages);
        principal->packages = strdup(value);
        return principal->packages ? px_requirement_allow_all(&checked, value, error) : px_error_oom(error);
    }
    bool own = strcmp(key, "rate") == 0 || strcmp(key, "max_concurrent") == 0 || strcmp(key, "max_sessions") == 0;
    if (own && parse_number(value, 1e6, &number) < 0)
        return refuse(error, "Give one, at most 1000000.", "%s: '%.60s' is not a number above 0", key, value);
    if (strcmp(key, "rate") == 0)
        principal->rate = number;
    else if (strcmp(key, "max_concurrent") == 0)
        principal->max_concurrent = (int64_t)number;
    else if (strcmp(key, "max_sessions") == 0)
        principal->max_sessions = (int64_t)number;
    return own ? 0 : px_policy_set_text(ceiling, key, value, PX_ORIGIN_FILE, error);
}

/* Returns only the keys that the line has set. */
static json_t *own_ceiling(const struct px_policy *policy)
{
    json_t *json = px_policy_to_json(policy);
    for (size_t i = 0; json && i < px_policy_table.count; i++)
        if (policy->origin[i] != PX_ORIGIN_FILE)
            json_object_del(json, px_policy_table.fields[i].info.name);
    return json;
}

static int parse_line(char *line, struct px_principal **ret, pyexec_error *error)
{
    char *rest = NULL;
    const char *name = strtok_r(line, " \t\r", &rest), *hash = strtok_r(NULL, " \t\r", &rest);
    struct px_principal *principal = calloc(1, sizeof *principal);
    px_auto(px_policy_done) struct px_policy ceiling = {0};
    int status = principal ? px_policy_init(&ceiling, error) : px_error_oom(error);
    if (status == 0 && (strlen(name) > PX_PRINCIPAL_NAME_MAX || strspn(name, NAME_CHARACTERS) != strlen(name) ||
                        strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "local") == 0 ||
                        strcmp(name, "loopback") == 0))
        status = refuse(error, NAME_HINT, "'%.80s' can't be a principal's name", name);
    if (status == 0 && (!hash || parse_hash(principal, hash) < 0))
        status = refuse(error, HASH_HINT, "no sha256:HEX after '%.80s'", name);
    for (char *pair; status == 0 && (pair = strtok_r(NULL, " \t\r", &rest));) {
        char *equals = strchr(pair, '=');
        if (equals)
            *equals = '\0';
        status = equals ? parse_setting(principal, &ceiling, pair, equals + 1, error)
                        : refuse(error, PAIR_HINT, "'%.80s' is not of the form key=value", pair);
    }
    if (status == 0) {
        snprintf(principal->name, sizeof principal->name, "%s", name);
        principal->ceiling = own_ceiling(&ceiling);
        status = principal->ceiling ? 0 : px_error_oom(error);
    }
    if (status < 0 && principal)
        free_principal(principal);
    if (status == 0)
        *ret = principal;
    return status;
}

static struct px_principal *find_named(struct px_principal *list, const char *name)
{
    while (list && strcmp(list->name, name) != 0)
        list = list->next;
    return list;
}

static bool has_token(const struct px_principal *list, const unsigned char *hash)
{
    while (list && (list->without_token || memcmp(list->token_hash, hash, sizeof list->token_hash) != 0))
        list = list->next;
    return list != NULL;
}

static int parse_file(char *text, const char *path, struct px_principal **ret, pyexec_error *error)
{
    unsigned number = 0;
    for (char *line = text, *end; line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        if (end)
            *end = '\0';
        number++;
        line += strspn(line, " \t\r");
        if (!*line || *line == '#')
            continue;
        struct px_principal *principal = NULL;
        if (parse_line(line, &principal, error) < 0)
            return px_error_wrap(error, "%s: line %u", path, number);
        bool named = find_named(*ret, principal->name);
        if (named || (!principal->without_token && has_token(*ret, principal->token_hash))) {
            px_error_set(error, PYEXEC_INVALID_POLICY, "%s: line %u: %s%s%s appears twice", path, number,
                         named ? "'" : "the token of '", principal->name, "'");
            px_error_hint(error, "Give each principal one line and a token of its own.");
            free_principal(principal);
            return -1;
        }
        principal->next = *ret;
        *ret = principal;
    }
    return 0;
}

static int unreadable(const char *path, int sys_errno, pyexec_error *error)
{
    px_error_errno(error, PYEXEC_INVALID_POLICY, sys_errno, "token_file: can't read '%s'", path);
    return px_error_hint(error, "Give a file of at most 4 MiB that user %u may read. Each line is NAME sha256:HEX.",
                         (unsigned)geteuid());
}

static int read_file(const char *path, struct px_buffer *ret, pyexec_error *error)
{
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC, 0);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0 || px_read_all(fd, ret, FILE_MAX_BYTES) < 0)
        return unreadable(path, errno, error);
    if (ret->length && strlen(px_buffer_string(ret)) != ret->length) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "token_file: '%s' has NUL bytes", path);
        return px_error_hint(error, "Write it as text. Each line is NAME sha256:HEX.");
    }
    if (status.st_mode & (S_IWGRP | S_IWOTH)) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "token_file: others may write to '%s'", path);
        return px_error_hint(error, "chmod 600 it.");
    }
    return 0;
}

/* Takes the new table. A principal that exists already keeps its place in the queues and gets the new values. */
static void adopt(struct px_principals *principals, struct px_principal *fresh)
{
    for (struct px_principal *old = principals->list; old; old = old->next)
        old->gone = true;
    while (fresh) {
        struct px_principal *next = fresh->next;
        struct px_principal *old = find_named(principals->list, fresh->name);
        if (old) {
            memcpy(old->token_hash, fresh->token_hash, sizeof old->token_hash);
            old->without_token = fresh->without_token;
            old->gone = false;
            old->max_concurrent = fresh->max_concurrent;
            old->max_sessions = fresh->max_sessions;
            old->rate = fresh->rate;
            json_t *ceiling = old->ceiling;
            old->ceiling = fresh->ceiling;
            fresh->ceiling = ceiling;
            char *servers = old->servers;
            old->servers = fresh->servers;
            fresh->servers = servers;
            char *secrets = old->secrets;
            old->secrets = fresh->secrets;
            fresh->secrets = secrets;
            char *packages = old->packages;
            old->packages = fresh->packages;
            fresh->packages = packages;
            free_principal(fresh);
        } else {
            fresh->next = principals->list;
            principals->list = fresh;
        }
        fresh = next;
    }
}

int px_principals_reload(struct px_principals *principals, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    struct px_principal *fresh = NULL;
    if (!principals->path)
        return 0;
    if (read_file(principals->path, &text, error) < 0)
        return -1;
    int status = text.length ? parse_file(text.data, principals->path, &fresh, error) : 0;
    if (status == 0) {
        pthread_mutex_lock(&principals->lock);
        adopt(principals, fresh);
        pthread_mutex_unlock(&principals->lock);
        return 0;
    }
    while (fresh) {
        struct px_principal *next = fresh->next;
        free_principal(fresh);
        fresh = next;
    }
    return -1;
}

int px_principals_init(struct px_principals *principals, const char *path, pyexec_error *error)
{
    *principals = (struct px_principals){.path = path};
    pthread_mutex_init(&principals->lock, NULL);
    strcpy(principals->local.name, "local");
    strcpy(principals->loopback.name, "loopback");
    principals->local.ceiling = json_object();
    principals->loopback.ceiling = json_object();
    bool good = principals->local.ceiling && principals->loopback.ceiling;
    return good ? px_principals_reload(principals, error) : px_error_oom(error);
}

void px_principals_done(struct px_principals *principals)
{
    while (principals->list) {
        struct px_principal *next = principals->list->next;
        free_principal(principals->list);
        principals->list = next;
    }
    json_decref(principals->local.ceiling);
    json_decref(principals->loopback.ceiling);
    free(principals->local.servers);
    free(principals->local.secrets);
    pthread_mutex_destroy(&principals->lock);
}

struct px_principal *px_principals_find(struct px_principals *principals, const char *header)
{
    if (!header || strncasecmp(header, "Bearer ", 7) != 0)
        return NULL;
    return px_principals_find_token(principals, header + 7 + strspn(header + 7, " "));
}

struct px_principal *px_principals_find_token(struct px_principals *principals, const char *token)
{
    unsigned char hash[32];
    unsigned length = 0;
    if (!*token || !EVP_Digest(token, strlen(token), hash, &length, EVP_sha256(), NULL) || length != sizeof hash)
        return NULL;
    struct px_principal *found = NULL;
    pthread_mutex_lock(&principals->lock);
    /* Compare all tokens, also after a match, so that the time does not depend on which one matches. */
    for (struct px_principal *at = principals->list; at; at = at->next)
        if (CRYPTO_memcmp(at->token_hash, hash, sizeof hash) == 0 && !at->gone && !at->without_token)
            found = at;
    pthread_mutex_unlock(&principals->lock);
    return found;
}

struct px_principal *px_principals_find_name(struct px_principals *principals, const char *name)
{
    if (strcmp(name, principals->local.name) == 0)
        return &principals->local;
    pthread_mutex_lock(&principals->lock);
    struct px_principal *found = find_named(principals->list, name);
    bool gone = found && found->gone;
    pthread_mutex_unlock(&principals->lock);
    return gone ? NULL : found;
}

json_t *px_principals_ceiling(struct px_principals *principals, const struct px_principal *principal)
{
    pthread_mutex_lock(&principals->lock);
    json_t *ceiling = json_incref(principal->ceiling);
    pthread_mutex_unlock(&principals->lock);
    return ceiling;
}

/* A reload can replace the text at any time. */
static char *copy_names(struct px_principals *principals, char *const *names)
{
    pthread_mutex_lock(&principals->lock);
    char *copy = strdup(*names ? *names : "");
    pthread_mutex_unlock(&principals->lock);
    return copy;
}

char *px_principals_servers(struct px_principals *principals, const struct px_principal *principal)
{
    return copy_names(principals, &principal->servers);
}

char *px_principals_secrets(struct px_principals *principals, const struct px_principal *principal)
{
    return copy_names(principals, &principal->secrets);
}

char *px_principals_packages(struct px_principals *principals, const struct px_principal *principal)
{
    pthread_mutex_lock(&principals->lock);
    errno = 0;
    char *names = principal->packages ? strdup(principal->packages) : NULL;
    pthread_mutex_unlock(&principals->lock);
    return names;
}

void px_principals_limit(struct px_principals *principals, const struct px_principal *principal,
                         pyexec_request *request)
{
    px_auto_json json_t *ceiling = px_principals_ceiling(principals, principal);
    px_auto_free char *secrets = px_principals_secrets(principals, principal);
    pyexec_request_set_ceiling_object(request, ceiling);
    /* Without memory the request has none. */
    (void)!pyexec_request_set_secrets(request, secrets);
}
