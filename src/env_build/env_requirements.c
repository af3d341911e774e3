/* SPDX-License-Identifier: Apache-2.0 */
/* The files belong to the operator; a requirement may also come from a script (PEP 723) or a request. So each line is looked at:
 * its length, its characters, and whether it names something else than a package of the index. */
#include "env_build/env_requirements.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/utf8.h"
#include "policy/fields.h"
#include "policy/requirement.h"

#define LINE_LONGEST ((size_t)8000) /* hashes of all files of a package can be on one line */
#define SHOWN_LONGEST ((size_t)900)
#define FILE_LONGEST ((size_t)1 << 20)
#define NESTED_MAX 16

/* Where a line comes from. */
struct origin {
    struct env_requirements *requirements;
    const char *file; /* NULL: the command line */
    unsigned line;
    unsigned depth;
    bool constraints;
};

static int read_file(struct env_requirements *requirements, const char *path, unsigned depth, bool constraints,
                     pyexec_error *error);

void env_requirements_init(struct env_requirements *requirements, bool build)
{
    *requirements = (struct env_requirements){.build = build, .shown = json_array()};
}

void env_requirements_done(struct env_requirements *requirements)
{
    px_buffer_done(&requirements->text);
    px_buffer_done(&requirements->constraints);
    json_decref(requirements->shown);
    requirements->shown = NULL;
    px_texts_done(&requirements->variables);
}

static int refuse(const struct origin *origin, const char *line, const char *why, const char *hint, pyexec_error *error)
{
    char shown[PX_SHOWN_MAX];
    px_error_set(error, PYEXEC_INVALID_REQUEST, "requirement %s %s", px_show(line, strlen(line), shown), why);
    if (origin->file)
        px_error_wrap(error, "'%s' line %u", origin->file, origin->line);
    return px_error_hint(error, "%s", hint);
}

/* ---- Addresses and paths ---- */

static bool ends_with(const char *text, size_t length, const char *end)
{
    return length >= strlen(end) && strncasecmp(text + length - strlen(end), end, strlen(end)) == 0;
}

/* The ends of names that pip takes for files (pip._internal.utils.filetypes). */
static bool is_file_name(const char *text, size_t length)
{
    static const char *const ends[] = {".whl", ".zip", ".gz",  ".tgz", ".tar", ".bz2",
                                       ".tbz", ".xz",  ".txz", ".tlz", ".lz",  ".lzma"};
    for (size_t i = 0; i < PX_COUNT(ends); i++)
        if (ends_with(text, length, ends[i]))
            return true;
    return false;
}

/* Returns where the address or path of a requirement begins, or NULL if it has none; *ret_length is its length without a
 * query, a fragment, a marker and options. */
static const char *find_address(const char *line, size_t *ret_length)
{
    char name[PX_PACKAGE_NAME_MAX];
    const char *start = line, *at = strchr(line, '@');
    size_t names = strcspn(line, " <>=!~;,@[(");
    bool has_address =
        strchr("./~", *line) || memchr(line, '/', names) || memchr(line, ':', names) || is_file_name(line, names);
    if (!has_address && at && px_package_name(line, name)) {
        start = at + 1 + strspn(at + 1, " \t");
        has_address = true;
    }
    *ret_length = strcspn(start, " \t#?;");
    return has_address ? start : NULL;
}

/* pip and uv take a relative path from the folder in which they run, so it is made absolute. */
static int add_path(const struct origin *origin, const char *line, const char *path, size_t length,
                    struct px_buffer *out, pyexec_error *error)
{
    char real[PATH_MAX];
    px_auto_free char *copy = strndup(path, length);
    if (!copy)
        return px_error_oom(error);
    if (!realpath(copy, real))
        return refuse(
            origin, line, "names a file that is not there",
            "Give the path of a wheel, relative to the folder in which you run the command, or the name of a package.",
            error);
    px_buffer_add(out, line, (size_t)(path - line));
    px_buffer_add_string(out, path == line ? "" : "file://");
    px_buffer_add_string(out, real);
    px_buffer_add_string(out, path + length);
    return 0;
}

static bool has_scheme(const char *text, size_t length)
{
    const char *colon = memchr(text, ':', length);
    return colon && colon - text > 1;
}

/* Appends the line as pip and uv shall read it. */
static int take_address(const struct origin *origin, const char *line, struct px_buffer *out, pyexec_error *error)
{
    size_t length;
    const char *address = find_address(line, &length);
    if (!address) {
        px_buffer_add_string(out, line);
        return 0;
    }
    if (!origin->requirements->build && !ends_with(address, length, ".whl"))
        return refuse(
            origin, line, "is not a wheel, and so its own code would run while it is installed, outside of any sandbox",
            "Name a package of the index or a .whl file. If you trust the code, add --build-from-source.", error);
    if (has_scheme(address, length)) {
        px_buffer_add_string(out, line);
        return 0;
    }
    return add_path(origin, line, address, length, out, error);
}

/* ---- Lines ---- */

/* Stars take the place of a user and a password in an address. */
static void add_shown(json_t *shown, const char *line)
{
    px_auto_buffer struct px_buffer text = {0};
    const char *end = strstr(line, " --hash");
    size_t length = end ? (size_t)(end - line) : strlen(line);
    const char *scheme = memmem(line, length, "://", 3);
    if (scheme) {
        const char *host = scheme + 3;
        size_t authority = strcspn(host, "/ ");
        const char *at = memrchr(host, '@', authority);
        if (at) {
            px_buffer_add(&text, line, (size_t)(host - line));
            px_buffer_add_string(&text, "***");
            length -= (size_t)(at - line);
            line = at;
        }
    }
    px_buffer_add(&text, line, length);
    if (text.length > SHOWN_LONGEST)
        text.length = SHOWN_LONGEST;
    while (text.length && !px_utf8_valid(text.data, text.length, NULL))
        text.length--;
    px_json_append(shown, json_stringn(text.data ? text.data : "", text.length));
}

/* Remembers NAME of each ${NAME}. */
static void note_variables(struct env_requirements *requirements, const char *line)
{
    for (const char *at = line; (at = strstr(at, "${"));) {
        at += 2;
        size_t length = strcspn(at, "}");
        if (at[length] && length && length < 100)
            px_texts_addf(&requirements->variables, "%.*s", (int)length, at);
    }
}

static struct px_buffer *target_of(const struct origin *origin)
{
    return origin->constraints ? &origin->requirements->constraints : &origin->requirements->text;
}

static int take_requirement(const struct origin *origin, const char *line, pyexec_error *error)
{
    char name[PX_PACKAGE_NAME_MAX];
    size_t length;
    if (!find_address(line, &length) && !px_package_name(line, name))
        return refuse(origin, line, "does not begin with the name of a package",
                      "Write requirements such as pandas, pandas==2.2.3 or \"pandas>=2,<3\".", error);
    struct px_buffer *target = target_of(origin);
    if (take_address(origin, line, target, error) < 0)
        return -1;
    px_buffer_add_byte(target, '\n');
    if (!origin->constraints)
        add_shown(origin->requirements->shown, line);
    note_variables(origin->requirements, line);
    return px_buffer_ok(target) ? 0 : px_error_oom(error);
}

/* Options of requirements files that say where packages are, or which ones may be taken. */
static const struct option_row {
    const char *name, *letter;
    bool value, path;
} option_rows[] = {
    {"--index-url", "-i", true, false},       {"--extra-index-url", NULL, true, false},
    {"--no-index", NULL, false, false},       {"--find-links", "-f", true, true},
    {"--trusted-host", NULL, true, false},    {"--pre", NULL, false, false},
    {"--only-binary", NULL, true, false},     {"--prefer-binary", NULL, false, false},
    {"--require-hashes", NULL, false, false}, {"--no-binary", NULL, true, false},
};

/* The value of an option that may be written "--name value", "--name=value" or "-nvalue"; NULL if it is another one. */
static const char *option_value(const char *line, const char *name, const char *letter)
{
    size_t length = strlen(name);
    if (strncmp(line, name, length) == 0 && (!line[length] || strchr(" \t=", line[length]))) {
        line += length;
        line += strspn(line, " \t");
        line += *line == '=';
        return line + strspn(line, " \t");
    }
    if (letter && strncmp(line, letter, 2) == 0 && line[1] != '-')
        return line + 2 + strspn(line + 2, " \t=");
    return NULL;
}

static int take_option(const struct origin *origin, const struct option_row *row, const char *value,
                       pyexec_error *error)
{
    char real[PATH_MAX];
    if (row->value != (*value != '\0'))
        return refuse(origin, row->name, row->value ? "needs a value" : "takes no value", "Correct the line.", error);
    if (strcmp(row->name, "--no-binary") == 0 && !origin->requirements->build)
        return refuse(origin, row->name,
                      "would run the code of packages while they are installed, outside of any sandbox",
                      "Take the line out. If you trust the code, add --build-from-source.", error);
    const char *path = row->path && realpath(value, real) ? real : value;
    px_buffer_printf(&origin->requirements->text, "%s%s%s\n", row->name, *path ? " " : "", path);
    note_variables(origin->requirements, value);
    return 0;
}

static int take_nested(const struct origin *origin, const char *value, bool constraints, pyexec_error *error)
{
    char path[PATH_MAX];
    const char *slash = origin->file && *value != '/' ? strrchr(origin->file, '/') : NULL;
    if (origin->depth >= NESTED_MAX)
        return refuse(origin, value, "is named by too many files, one in the other", "Name it directly.", error);
    int length = snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - origin->file + 1) : 0,
                          slash ? origin->file : "", value);
    if (length >= (int)sizeof path)
        return refuse(origin, value, "is too long for a path", "Give a shorter path.", error);
    return read_file(origin->requirements, path, origin->depth + 1, constraints, error);
}

static int take_dashed(const struct origin *origin, const char *line, pyexec_error *error)
{
    const char *value;
    if ((value = option_value(line, "--requirement", "-r")))
        return take_nested(origin, value, origin->constraints, error);
    if ((value = option_value(line, "--constraint", "-c")))
        return take_nested(origin, value, true, error);
    if (option_value(line, "--editable", "-e"))
        return refuse(
            origin, line, "is an editable package, whose files would change later",
            "An environment never changes. Name a package or a wheel; `pip wheel FOLDER` makes one of a folder.",
            error);
    for (size_t i = 0; i < PX_COUNT(option_rows); i++)
        if ((value = option_value(line, option_rows[i].name, option_rows[i].letter)))
            return take_option(origin, &option_rows[i], value, error);
    return refuse(
        origin, line, "is an option that environments don't have",
        "Options are: -r, -c, --index-url, --extra-index-url, --no-index, --find-links, --trusted-host, --pre, "
        "--only-binary, --prefer-binary, --require-hashes.",
        error);
}

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length && strchr(" \t\r", text[length - 1]))
        text[--length] = '\0';
    return text;
}

/* pip divides its files with Python's str.splitlines(), for which these end a line too: U+0085, U+2028 and U+2029. What follows one would
 * be a requirement, or an option, that was not looked at here. */
static bool has_other_line_ends(const char *line)
{
    return strstr(line, "\xc2\x85") || strstr(line, "\xe2\x80\xa8") || strstr(line, "\xe2\x80\xa9");
}

/* A requirement of the index is ASCII text (packaging.python.org, dependency specifiers). */
static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static int take_line(const struct origin *origin, char *text, pyexec_error *error)
{
    for (char *hash = strchr(text, '#'); hash; hash = strchr(hash + 1, '#'))
        if (hash == text || hash[-1] == ' ' || hash[-1] == '\t') {
            *hash = '\0';
            break;
        }
    char *line = trim(text);
    size_t length = strlen(line);
    if (!length)
        return 0;
    bool valid = length <= LINE_LONGEST && px_utf8_valid(line, length, NULL) && !has_other_line_ends(line);
    for (size_t i = 0; valid && i < length; i++)
        valid = (unsigned char)line[i] >= 0x20 || line[i] == '\t';
    if (!valid)
        return refuse(origin, "", "is too long, or has control characters",
                      "Write one requirement on a line, as UTF-8 text.", error);
    return *line == '-' ? take_dashed(origin, line, error) : take_requirement(origin, line, error);
}

/* Lines that end with a backslash go on in the next one. */
static int take_text(struct origin *origin, const char *bytes, size_t length, pyexec_error *error)
{
    const char *end = bytes + length;
    px_auto_buffer struct px_buffer line = {0};
    while (bytes < end) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes)), *stop = newline ? newline : end;
        const char *last = stop > bytes && stop[-1] == '\r' ? stop - 1 : stop;
        bool more = last > bytes && last[-1] == '\\' && newline;
        px_buffer_add(&line, bytes, (size_t)(last - bytes) - more);
        origin->line++;
        bytes = newline ? newline + 1 : end;
        if (more)
            continue;
        if (!px_buffer_ok(&line))
            return px_error_oom(error);
        if (line.length && (memchr(line.data, 0, line.length) || take_line(origin, line.data, error) < 0))
            return memchr(line.data, 0, line.length)
                       ? refuse(origin, "", "has a NUL byte", "Write the file as UTF-8 text.", error)
                       : -1;
        line.length = 0;
    }
    return 0;
}

static int read_file(struct env_requirements *requirements, const char *path, unsigned depth, bool constraints,
                     pyexec_error *error)
{
    px_auto_buffer struct px_buffer bytes = {0};
    struct origin origin = {.requirements = requirements, .file = path, .depth = depth, .constraints = constraints};
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
    if (fd < 0 || px_read_all(fd, &bytes, FILE_LONGEST) < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "can't read the requirements file '%.500s'", path);
        return px_error_hint(error, "Give a readable text file of at most 1 MiB.");
    }
    return take_text(&origin, px_buffer_string(&bytes), bytes.length, error);
}

int env_requirements_add(struct env_requirements *requirements, const char *requirement, pyexec_error *error)
{
    struct origin origin = {.requirements = requirements};
    px_auto_free char *line = strdup(requirement);
    if (!line)
        return px_error_oom(error);
    const char *text = requirement + strspn(requirement, " \t");
    if (*text == '-' || !*text || strpbrk(text, "\r\n"))
        return refuse(&origin, requirement, "does not begin with the name of a package",
                      "Write requirements such as pandas, pandas==2.2.3 or \"pandas>=2,<3\".", error);
    return take_line(&origin, line, error);
}

int env_requirements_add_name(struct env_requirements *requirements, const char *requirement, pyexec_error *error)
{
    const struct origin origin = {.requirements = requirements};
    char name[PX_PACKAGE_NAME_MAX];
    size_t length;
    if (!is_ascii(requirement) || !px_package_name(requirement, name) || find_address(requirement, &length) ||
        strstr(requirement, "${") || strstr(requirement, " --"))
        return refuse(
            &origin, requirement, "is not the name of a package",
            "A script may only list packages of the index, such as pandas or pandas>=2,<3. `pyexec env create` takes wheels too.",
            error);
    return env_requirements_add(requirements, requirement, error);
}

int env_requirements_add_file(struct env_requirements *requirements, const char *path, pyexec_error *error)
{
    return read_file(requirements, path, 0, false, error);
}

int env_requirements_add_lines(struct env_requirements *requirements, const char *bytes, size_t length,
                               bool constraints, pyexec_error *error)
{
    struct origin origin = {.requirements = requirements, .file = "requirements.txt", .constraints = constraints};
    return take_text(&origin, bytes, length, error);
}
