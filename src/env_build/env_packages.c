/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata comes from the packages' authors. It is parsed within bounds; what can't be read is left out. */
#include "env_build/env_packages.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/utf8.h"

#define RECORD_LONGEST ((size_t)64 << 20)
#define METADATA_LONGEST ((size_t)16 << 20)
#define MODULE_LONGEST ((size_t)200)
#define TEXT_LONGEST ((size_t)200)
#define SUFFIX ".dist-info"

void env_packages_done(struct env_packages *packages)
{
    json_decref(packages->packages);
    json_decref(packages->imports);
    *packages = (struct env_packages){0};
}

static int read_file(const char *folder, const char *package, const char *name, size_t limit, struct px_buffer *ret)
{
    px_auto_buffer struct px_buffer path = {0};
    px_buffer_printf(&path, "%s/%s/%s", folder, package, name);
    px_auto_fd int fd = px_buffer_ok(&path) ? px_open(path.data, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0) : -1;
    return fd < 0 ? -1 : px_read_all(fd, ret, limit);
}

/* ---- Top-level modules ---- */

static bool is_module(const char *text, size_t length)
{
    if (!length || length > MODULE_LONGEST || !px_utf8_valid(text, length, NULL) || (*text >= '0' && *text <= '9'))
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!(c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
            return false;
    }
    return true;
}

/* Names that begin with an underscore are for the packages themselves, which may import everything. */
static void add_module(struct px_texts *modules, const char *path, size_t length)
{
    const char *slash = memchr(path, '/', length);
    size_t name = slash ? (size_t)(slash - path) : strcspn(path, ".,");
    bool code = false;
    static const char *const ends[] = {".py", ".pyc", ".so"};
    for (size_t i = 0; i < PX_COUNT(ends); i++)
        code |= length > strlen(ends[i]) && memcmp(path + length - strlen(ends[i]), ends[i], strlen(ends[i])) == 0;
    if (!code || *path == '_' || name > length || !is_module(path, name))
        return;
    if (modules->count && strlen(modules->items[modules->count - 1]) == name &&
        memcmp(modules->items[modules->count - 1], path, name) == 0)
        return; /* the same as in the line before */
    px_texts_addf(modules, "%.*s", (int)name, path);
}

/* ---- Files ---- */

/* The path at the start of a line of RECORD (a CSV file): a quoted one has its quotes taken away. Returns what is after the comma. */
static const char *record_path(char *line, const char **ret_path, size_t *ret_length)
{
    if (*line != '"') {
        *ret_path = line;
        *ret_length = strcspn(line, ",");
        return line + *ret_length + (line[*ret_length] == ',');
    }
    char *to = line, *from = line + 1;
    while (*from && (*from != '"' || from[1] == '"')) {
        from += *from == '"';
        *to++ = *from++;
    }
    *ret_path = line;
    *ret_length = (size_t)(to - line);
    from += *from == '"';
    return from + (*from == ',');
}

/* Files that differ between two installations, or between two installers. */
static bool is_of_installation(const char *path, size_t length, const char *package)
{
    static const char *const names[] = {"/INSTALLER", "/REQUESTED", "/RECORD", "/direct_url.json", "/uv_cache.json"};
    if (length >= 4 && memcmp(path + length - 4, ".pyc", 4) == 0)
        return true;
    size_t folder = strlen(package);
    if (length < folder || memcmp(path, package, folder) != 0)
        return memcmp(path, "..", length < 2 ? length : 2) == 0; /* programs, whose first line names the interpreter */
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (length - folder == strlen(names[i]) && memcmp(path + folder, names[i], length - folder) == 0)
            return true;
    return false;
}

static void read_record(char *text, const char *package, struct px_texts *files, struct px_texts *modules)
{
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        const char *path;
        size_t length;
        line[strcspn(line, "\r")] = '\0';
        const char *hash = record_path(line, &path, &length);
        if (!length)
            continue;
        add_module(modules, path, length);
        if (is_of_installation(path, length, package))
            continue;
        px_texts_addf(files, "%.*s %.*s", (int)length, path, (int)strcspn(hash, ","), hash);
    }
}

/* ---- Packages ---- */

/* The value of a header of METADATA, which ends at the first empty line. */
static bool find_header(const char *text, const char *name, char ret[TEXT_LONGEST + 1])
{
    while (*text && *text != '\n' && *text != '\r') {
        size_t length = strcspn(text, "\r\n"), prefix = strlen(name);
        if (strncasecmp(text, name, prefix) == 0 && text[prefix] == ':') {
            const char *value = text + prefix + 1;
            value += strspn(value, " \t");
            size_t size = (size_t)(text + length - value);
            if (text + length <= value || size > TEXT_LONGEST || !px_utf8_valid(value, size, NULL))
                return false;
            memcpy(ret, value, size);
            ret[size] = '\0';
            return true;
        }
        text += length;
        text += *text == '\r';
        text += *text == '\n';
    }
    return false;
}

static int take_package(const char *folder, const char *package, struct env_packages *ret, struct px_texts *modules,
                        struct px_sha256 *hash)
{
    char name[TEXT_LONGEST + 1], version[TEXT_LONGEST + 1];
    px_auto_buffer struct px_buffer metadata = {0}, record = {0};
    px_auto(px_texts_done) struct px_texts files = {0};
    if (read_file(folder, package, "METADATA", METADATA_LONGEST, &metadata) < 0 ||
        !find_header(px_buffer_shown(&metadata), "Name", name) ||
        !find_header(px_buffer_shown(&metadata), "Version", version))
        return 0;
    px_sha256_add_string(hash, name);
    px_sha256_add_string(hash, version);
    if (read_file(folder, package, "RECORD", RECORD_LONGEST, &record) == 0 && record.length)
        read_record(record.data, package, &files, modules);
    else
        px_sha256_add_string(hash, px_buffer_shown(&metadata)); /* without a list of files, at least its description */
    px_texts_sort(&files);
    for (size_t i = 0; i < files.count; i++)
        px_sha256_add_string(hash, files.items[i]);
    px_json_append(ret->packages, json_pack("{s:s, s:s}", "name", name, "version", version));
    return files.failed || modules->failed ? -1 : 0;
}

static int list_packages(const char *site_packages, struct px_texts *ret, pyexec_error *error)
{
    px_auto_folder DIR *folder = opendir(site_packages);
    if (!folder)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't read '%s'", site_packages);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        size_t length = strlen(entry->d_name);
        if (length > strlen(SUFFIX) && strcmp(entry->d_name + length - strlen(SUFFIX), SUFFIX) == 0)
            px_texts_add(ret, entry->d_name);
    }
    px_texts_sort(ret);
    return ret->failed ? px_error_oom(error) : 0;
}

/* Python finds the module of its standard library first. So a package with a module of such a name, say ctypes, must not make it one
 * that scripts may import. */
static bool is_standard(const struct px_texts *standard, char *const *name)
{
    return standard->count &&
           bsearch(name, standard->items, standard->count, sizeof *standard->items, px_texts_compare);
}

int env_packages_read(const char *site_packages, const struct px_texts *standard, struct env_packages *ret,
                      struct px_sha256 *hash, pyexec_error *error)
{
    px_auto(px_texts_done) struct px_texts packages = {0}, modules = {0};
    *ret = (struct env_packages){json_array(), json_array()};
    if (list_packages(site_packages, &packages, error) < 0)
        return -1;
    for (size_t i = 0; i < packages.count; i++)
        if (take_package(site_packages, packages.items[i], ret, &modules, hash) < 0)
            return px_error_oom(error);
    px_texts_sort(&modules);
    for (size_t i = 0; i < modules.count; i++)
        if ((!i || strcmp(modules.items[i], modules.items[i - 1]) != 0) && !is_standard(standard, &modules.items[i]))
            px_json_append(ret->imports, json_string(modules.items[i]));
    return json_is_array(ret->packages) && json_is_array(ret->imports) ? 0 : px_error_oom(error);
}
