/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files and environment variables. Both come from the administrator, but an error in them is still
 * reported, and nothing is guessed: a misspelt limit must not mean no limit. A file is read once, as a whole.
 * Nothing is written, and the environment is not changed. */
#include "policy/config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/utf8.h"
#include "policy/fields.h"

#define FILE_MAX ((size_t)1 << 20)
#define CONFIG_LINE_MAX ((size_t)16384)
#define ROWS_MAX 64
#define ENVIRONMENT_PREFIX "PYEXEC_"

enum { POLICY, HOST, SESSION, SERVE, MCP, TELEMETRY, CLI, ENV, EGRESS, NATS, SECTION_COUNT };

static const struct px_table *const sections[SECTION_COUNT] = {
    [POLICY] = &px_policy_table,      [HOST] = &px_host_table,      [SESSION] = &px_session_config_table,
    [SERVE] = &px_serve_config_table, [MCP] = &px_mcp_config_table, [TELEMETRY] = &px_telemetry_config_table,
    [CLI] = &px_cli_config_table,     [ENV] = &px_env_config_table, [EGRESS] = &px_egress_config_table,
    [NATS] = &px_nats_config_table,
};

/* Used for the sections that the caller does not want. */
struct config_target {
    void *bases[SECTION_COUNT];
    struct px_policy policy;
    struct px_host host;
    struct px_session_config session;
    struct px_serve_config serve;
    struct px_mcp_config mcp;
    struct px_telemetry_config telemetry;
    struct px_cli_config cli;
    struct px_env_config env;
    struct px_egress_config egress;
    struct px_nats_config nats;
};

static void target_done(struct config_target *target)
{
    px_policy_done(&target->policy);
    px_host_done(&target->host);
    px_session_config_done(&target->session);
    px_serve_config_done(&target->serve);
    px_mcp_config_done(&target->mcp);
    px_telemetry_config_done(&target->telemetry);
    px_cli_config_done(&target->cli);
    px_env_config_done(&target->env);
    px_egress_config_done(&target->egress);
    px_nats_config_done(&target->nats);
}

static int target_init(struct config_target *target, const struct px_config *into, pyexec_error *error)
{
    void *own[SECTION_COUNT] = {&target->policy,    &target->host, &target->session, &target->serve,  &target->mcp,
                                &target->telemetry, &target->cli,  &target->env,     &target->egress, &target->nats};
    void *theirs[SECTION_COUNT] = {into->policy,    into->host, into->session, into->serve,  into->mcp,
                                   into->telemetry, into->cli,  into->env,     into->egress, into->nats};
    for (int i = 0; i < SECTION_COUNT; i++) {
        target->bases[i] = theirs[i] ? theirs[i] : own[i];
        if (!theirs[i] && px_table_init(sections[i], own[i], error) < 0)
            return -1;
    }
    return 0;
}

static int set(struct config_target *target, int section, const char *name, const char *text, enum px_origin origin,
               pyexec_error *error)
{
    if (section == POLICY)
        return px_policy_set_text(target->bases[POLICY], name, text, origin, error);
    return px_table_set_text(sections[section], target->bases[section], name, text, error);
}

/* The state of reading a file. */
struct reader {
    struct config_target *target;
    int section; /* -1 before the first section */
    unsigned line;
    unsigned seen[SECTION_COUNT][ROWS_MAX]; /* line of each key, or 0 */
};

_Static_assert(PX_FIELD_COUNT <= ROWS_MAX, "a line is remembered for every key");

static int bad_line(const char *what, const char *text, size_t length, const char *hint, pyexec_error *error)
{
    char shown[PX_SHOWN_MAX];
    px_error_set(error, PYEXEC_INVALID_POLICY, "%s %s", what, px_show(text, length, shown));
    return px_error_hint(error, "%s", hint);
}

static int find_section(const char *name, size_t length)
{
    for (int i = 0; i < SECTION_COUNT; i++)
        if (strlen(sections[i]->name) == length && memcmp(sections[i]->name, name, length) == 0)
            return i;
    return SECTION_COUNT;
}

static int read_section(struct reader *reader, const char *line, size_t length, pyexec_error *error)
{
    reader->section = line[length - 1] == ']' ? find_section(line + 1, length - 2) : SECTION_COUNT;
    if (reader->section == SECTION_COUNT)
        return bad_line(
            "unknown section", line, length,
            "The sections are [policy], [session], [host], [serve], [mcp], [telemetry], [cli], [env], [egress] and [nats].",
            error);
    return 0;
}

/* Other INI dialects give these forms a special meaning. Here they would be plain text, so they are refused. */
static int check_value(const char *value, pyexec_error *error)
{
    size_t length = strlen(value);
    if (length > 1 && (*value == '"' || *value == '\'') && value[length - 1] == *value)
        return bad_line("quotes around", value, length, "Write the value without quotes.", error);
    if (strstr(value, " #") || strstr(value, " ;") || strstr(value, "\t#") || strstr(value, "\t;") || *value == '#' ||
        *value == ';')
        return bad_line("a comment after the value", value, length, "Put the comment on a line of its own.", error);
    return 0;
}

static char *trim(char *text, char *end)
{
    while (text < end && (*text == ' ' || *text == '\t'))
        text++;
    while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    *end = '\0';
    return text;
}

static int read_key(struct reader *reader, char *line, size_t length, pyexec_error *error)
{
    char *equals = memchr(line, '=', length);
    if (!equals || equals == line)
        return bad_line("not a line of a configuration:", line, length, "Write KEY = VALUE, [SECTION] or # comment.",
                        error);
    if (reader->section < 0)
        return bad_line(
            "no section before", line, length,
            "Put [policy], [session], [host], [serve], [mcp], [telemetry], [cli], [env], [egress] or [nats] before the first key.",
            error);
    char *value = trim(equals + 1, line + length);
    char *name = trim(line, equals);
    const struct px_table *table = sections[reader->section];
    size_t row = px_table_find(table, name);
    if (row == table->count)
        return px_table_unknown(table, name, false, error);
    unsigned *seen = &reader->seen[reader->section][row];
    if (*seen) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "%s is set again, after line %u", name, *seen);
        return px_error_hint(error, "Remove one of the two lines.");
    }
    *seen = reader->line;
    if (check_value(value, error) < 0)
        return px_error_wrap(error, "%s", name);
    return set(reader->target, reader->section, name, value, PX_ORIGIN_FILE, error);
}

/* `bytes` has no NUL at its end. */
static int read_line(struct reader *reader, const char *bytes, size_t length, pyexec_error *error)
{
    if (length > CONFIG_LINE_MAX)
        return px_error_set(error, PYEXEC_INVALID_POLICY, "the line is longer than %zu bytes", CONFIG_LINE_MAX);
    if (memchr(bytes, 0, length) || !px_utf8_valid(bytes, length, NULL))
        return bad_line("not UTF-8 text:", bytes, length, "Save the file as UTF-8.", error);
    px_auto_free char *copy = strndup(bytes, length);
    if (!copy)
        return px_error_oom(error);
    char *line = trim(copy, copy + length);
    if (!*line || *line == '#' || *line == ';')
        return 0;
    if (*line == '[')
        return read_section(reader, line, strlen(line), error);
    return read_key(reader, line, strlen(line), error);
}

static int parse(struct config_target *target, const char *bytes, size_t length, const char *name, pyexec_error *error)
{
    struct reader reader = {.target = target, .section = -1};
    const char *end = bytes + length;
    while (bytes < end) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        const char *stop = newline ? newline : end;
        reader.line++;
        if (read_line(&reader, bytes, (size_t)(stop - bytes), error) < 0) {
            char shown[PX_SHOWN_MAX];
            return px_error_wrap(error, "%s line %u", px_show(name, strlen(name), shown), reader.line);
        }
        bytes = newline ? newline + 1 : end;
    }
    return 0;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Finds the section of a variable PYEXEC_SECTION_KEY=…; *ret_key is where KEY begins. */
static int section_of_variable(const char *variable, const char **ret_key)
{
    if (!has_prefix(variable, ENVIRONMENT_PREFIX))
        return SECTION_COUNT;
    variable += strlen(ENVIRONMENT_PREFIX);
    for (int i = 0; i < SECTION_COUNT; i++) {
        const char *name = sections[i]->name;
        size_t j = 0;
        while (name[j] && variable[j] == name[j] - 'a' + 'A')
            j++;
        if (!name[j] && variable[j] == '_') {
            *ret_key = variable + j + 1;
            return i;
        }
    }
    return SECTION_COUNT;
}

static int read_variable(struct config_target *target, int section, const char *variable, const char *key,
                         pyexec_error *error)
{
    char name[64], shown[PX_SHOWN_MAX];
    const char *equals = strchr(key, '=');
    size_t length = equals ? (size_t)(equals - key) : strlen(key);
    size_t whole = (size_t)(key - variable) + length;
    if (!equals || length >= sizeof name)
        return bad_line("no such variable:", variable, whole, sections[section]->hint, error);
    for (size_t i = 0; i < length; i++)
        name[i] = (char)(key[i] >= 'A' && key[i] <= 'Z' ? key[i] - 'A' + 'a' : key[i]);
    name[length] = '\0';
    if (set(target, section, name, equals + 1, PX_ORIGIN_ENVIRONMENT, error) == 0)
        return 0;
    return px_error_wrap(error, "environment variable %s", px_show(variable, whole, shown));
}

static int read_environment(struct config_target *target, char *const *environment, pyexec_error *error)
{
    if (px_telemetry_config_otel(target->bases[TELEMETRY], environment, error) < 0)
        return -1;
    for (; environment && *environment; environment++) {
        const char *key;
        int section = section_of_variable(*environment, &key);
        if (section != SECTION_COUNT && read_variable(target, section, *environment, key, error) < 0)
            return -1;
    }
    return 0;
}

/* Reads the whole file, at most FILE_MAX bytes. */
static int read_file(struct config_target *target, const char *path, pyexec_error *error)
{
    px_auto_buffer struct px_buffer bytes = {0};
    const char *name = path ? path : PX_CONFIG_PATH;
    px_auto_fd int fd = px_open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
    if (fd < 0 && !path && errno == ENOENT)
        return 0;
    if (fd < 0 || px_read_all(fd, &bytes, FILE_MAX) < 0) {
        char shown[PX_SHOWN_MAX];
        if (px_errno_exhausted(errno))
            return px_error_exhausted(error, errno, "can't read the configuration file");
        px_error_errno(error, PYEXEC_INVALID_POLICY, errno, "can't read the configuration file %s",
                       px_show(name, strlen(name), shown));
        return px_error_hint(error, path ? "Check the path that --config gives."
                                         : "Make it readable, or name another with --config.");
    }
    return parse(target, px_buffer_string(&bytes), bytes.length, name, error);
}

int px_config_parse(const char *bytes, size_t length, const char *name, const struct px_config *into,
                    pyexec_error *error)
{
    px_auto(target_done) struct config_target target = {0};
    if (target_init(&target, into, error) < 0)
        return -1;
    return parse(&target, bytes, length, name, error);
}

int px_config_environment(char *const *environment, const struct px_config *into, pyexec_error *error)
{
    px_auto(target_done) struct config_target target = {0};
    if (target_init(&target, into, error) < 0)
        return -1;
    return read_environment(&target, environment, error);
}

int px_config_load_into(const char *path, const struct px_config *into, pyexec_error *error)
{
    px_auto(target_done) struct config_target target = {0};
    if (target_init(&target, into, error) < 0 || read_file(&target, path, error) < 0 ||
        read_environment(&target, environ, error) < 0)
        return -1;
    /* Flags may still change the policy, so the caller checks it for contradictions. */
    return px_session_config_check(target.bases[SESSION], error);
}

int px_config_load(const char *path, struct px_policy *policy, struct px_host *host, pyexec_error *error)
{
    const struct px_config into = {.policy = policy, .host = host};
    return px_config_load_into(path, &into, error);
}
