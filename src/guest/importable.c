/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/importable.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/paths.h"

#define DEPTH_MAX 32

struct module_search {
    const struct px_importable_sink *sink;
    char base[PATH_MAX]; /* the folder after links are resolved; links must stay below it */
};

/* Returns the next name that does not begin with a dot, and its path. ".libs" is allowed: older wheels have their
 * shared libraries there. */
static const char *next_name(DIR *folder, const char *parent, char path[PATH_MAX])
{
    const struct dirent *entry;
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.' && strcmp(entry->d_name, ".libs") != 0)
            continue;
        if (snprintf(path, PATH_MAX, "%s/%s", parent, entry->d_name) < PATH_MAX)
            return path + strlen(parent) + 1;
    }
    return NULL;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t length = strlen(name), wanted = strlen(suffix);
    return length > wanted && strcmp(name + length - wanted, suffix) == 0;
}

/* Returns the length of the identifier at the start of a name. Characters beyond ASCII count as letters. */
static size_t identifier_length(const char *name)
{
    size_t length = 0;
    while (isalnum((unsigned char)name[length]) || name[length] == '_' || name[length] & 0x80)
        length++;
    return isdigit((unsigned char)name[0]) ? 0 : length;
}

/* Accepts "x.py", "x.pyc", "x.so" and "x.cpython-311-x86_64-linux-gnu.so". */
static bool is_module_name(const char *name)
{
    size_t length = identifier_length(name);
    const char *suffix = name + length;
    return length &&
           (strcmp(suffix, ".py") == 0 || strcmp(suffix, ".pyc") == 0 || (suffix[0] == '.' && ends_with(name, ".so")));
}

static bool has_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && stat(path, &status) == 0;
}

static bool is_repository(const char *folder)
{
    static const char *const names[] = {".git", ".hg", ".svn", ".bzr", "CVS"};
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (has_file(folder, names[i]))
            return true;
    return false;
}

bool px_importable_is_project(const char *folder)
{
    if (is_repository(folder))
        return true;
    DIR *px_auto_folder entries = opendir(folder);
    const struct dirent *entry;
    while (entries && (entry = readdir(entries)))
        if (strncmp(entry->d_name, ".env", 4) == 0)
            return true;
    return false;
}

static bool is_system(const char *path)
{
    static const char *const folders[] = {
        "/",          "/bin",       "/boot",          "/dev",       "/etc",  "/home",    "/lib",
        "/lib64",     "/media",     "/mnt",           "/opt",       "/proc", "/root",    "/run",
        "/sbin",      "/srv",       "/sys",           "/tmp",       "/usr",  "/usr/bin", "/usr/lib",
        "/usr/lib64", "/usr/local", "/usr/local/lib", "/usr/share", "/var",  "/var/lib", "/var/tmp",
    };
    for (size_t i = 0; i < PX_COUNT(folders); i++)
        if (strcmp(path, folders[i]) == 0)
            return true;
    return false;
}

/* True for the folders directly below /home and for the home folders of the machine's accounts. */
static bool is_home(const char *path)
{
    if (strncmp(path, "/home/", 6) == 0 && !strchr(path + 6, '/'))
        return true;
    FILE *accounts = fopen("/etc/passwd", "re");
    const struct passwd *account;
    bool found = false;
    char resolved[PATH_MAX];
    while (accounts && !found && (account = fgetpwent(accounts)))
        found =
            strcmp(account->pw_dir, path) == 0 || (realpath(account->pw_dir, resolved) && strcmp(resolved, path) == 0);
    if (accounts)
        fclose(accounts);
    return found;
}

bool px_importable_is_shared(const char *folder)
{
    char resolved[PATH_MAX];
    return !realpath(folder, resolved) || is_system(resolved) || is_home(resolved);
}

/* True if a link leads to a path below the folder, and no name on this path begins with a dot. */
static bool link_stays_inside(const struct module_search *search, const char *path)
{
    char resolved[PATH_MAX];
    return realpath(path, resolved) && px_path_below(resolved, search->base) &&
           !strstr(resolved + strlen(search->base), "/.");
}

/* True if no link of this file or folder leads outside, so that scripts may see it. Its mode is in `ret_mode`. */
static bool stays_inside(const struct module_search *search, const char *path, mode_t *ret_mode)
{
    struct stat status;
    if (lstat(path, &status) < 0)
        return false;
    if (S_ISLNK(status.st_mode) && (!link_stays_inside(search, path) || stat(path, &status) < 0))
        return false;
    *ret_mode = status.st_mode;
    return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
}

static bool has_dot_name(const char *folder, int depth)
{
    DIR *px_auto_folder entries = opendir(folder);
    const struct dirent *entry;
    char path[PATH_MAX];
    while (entries && (entry = readdir(entries))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, ".libs") == 0)
            continue;
        struct stat status;
        if (name[0] == '.' || depth == DEPTH_MAX ||
            snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path ||
            (lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && has_dot_name(path, depth + 1)))
            return true;
    }
    return false;
}

/* Adds everything that belongs to a package. A folder that is added whole also shows names that are made in it
 * later. So a folder that has dot names already is added entry by entry. */
static int add_tree(const struct module_search *search, const char *folder, int depth)
{
    if (!has_dot_name(folder, depth))
        return search->sink->add(search->sink->data, folder);
    DIR *px_auto_folder entries = depth < DEPTH_MAX ? opendir(folder) : NULL;
    char path[PATH_MAX];
    mode_t mode;
    while (entries && next_name(entries, folder, path)) {
        if (!stays_inside(search, path, &mode))
            continue;
        if ((S_ISDIR(mode) ? add_tree(search, path, depth + 1) : search->sink->add(search->sink->data, path)) < 0)
            return -1;
    }
    return 0;
}

static int add_package(const struct module_search *search, const char *folder)
{
    if (px_importable_is_shared(folder))
        return 0;
    search->sink->list(search->sink->data, folder);
    return add_tree(search, folder, 0);
}

static bool is_package(const char *folder)
{
    DIR *px_auto_folder entries = opendir(folder);
    const struct dirent *entry;
    while (entries && (entry = readdir(entries)))
        if (strncmp(entry->d_name, "__init__.", 9) == 0 && is_module_name(entry->d_name))
            return true;
    return false;
}

/* A folder beside a package that is needed to load the package or to read its version. */
static bool is_companion(const char *name)
{
    return ends_with(name, ".dist-info") || ends_with(name, ".egg-info") || ends_with(name, ".libs");
}

static int add_importable(const struct module_search *search, const char *folder, bool namespaces, int depth);

/* Adds a folder whose name is an identifier. A virtual environment or a repository does not count as a namespace
 * package. */
static int add_subfolder(const struct module_search *search, const char *folder, bool namespaces, int depth)
{
    if (is_package(folder))
        return add_package(search, folder);
    if (!namespaces || depth == DEPTH_MAX || has_file(folder, "pyvenv.cfg") || is_repository(folder))
        return 0;
    return add_importable(search, folder, true, depth + 1);
}

static int add_importable(const struct module_search *search, const char *folder, bool namespaces, int depth)
{
    DIR *px_auto_folder entries = opendir(folder);
    char path[PATH_MAX];
    const char *name;
    mode_t mode;
    while (entries && (name = next_name(entries, folder, path))) {
        int result = 0;
        if (!stays_inside(search, path, &mode))
            continue;
        if (S_ISREG(mode) && is_module_name(name)) {
            search->sink->list(search->sink->data, path);
            result = search->sink->add(search->sink->data, path);
        } else if (S_ISDIR(mode) && (is_companion(name) || strcmp(name, "__pycache__") == 0)) {
            result = add_tree(search, path, depth + 1);
        } else if (S_ISDIR(mode) && !name[identifier_length(name)]) {
            result = add_subfolder(search, path, namespaces, depth);
        }
        if (result < 0)
            return -1;
    }
    return 0;
}

int px_importable_folder(const struct px_importable_sink *sink, const char *folder)
{
    struct module_search search = {.sink = sink};
    if (!realpath(folder, search.base))
        return 0;
    return add_importable(&search, folder, !px_importable_is_shared(folder), 0);
}

/* Adds the files of a module. The suffix may be missing in `path`. */
static int add_module(const struct module_search *search, const char *path)
{
    char folder[PATH_MAX], found[PATH_MAX];
    const char *slash = strrchr(path, '/'), *wanted = slash + 1, *name;
    size_t length = identifier_length(wanted);
    mode_t mode;
    if (!length || snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path) >= (int)sizeof folder)
        return 0;
    DIR *px_auto_folder entries = opendir(*folder ? folder : "/");
    while (entries && (name = next_name(entries, folder, found)))
        if (is_module_name(name) && strncmp(name, wanted, length) == 0 && name[length] == '.' &&
            stays_inside(search, found, &mode) && S_ISREG(mode)) {
            search->sink->list(search->sink->data, found);
            if (search->sink->add(search->sink->data, found) < 0)
                return -1;
        }
    return 0;
}

int px_importable_target(const struct px_importable_sink *sink, const char *path)
{
    struct module_search search = {.sink = sink};
    char parent[PATH_MAX];
    struct stat status;
    if (path[0] != '/' || snprintf(parent, sizeof parent, "%s", path) >= (int)sizeof parent)
        return 0;
    *strrchr(parent, '/') = '\0';
    bool folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    if (!realpath(folder ? path : *parent ? parent : "/", search.base))
        return 0;
    if (!folder)
        return add_module(&search, path);
    return is_package(path) ? add_package(&search, path) : px_importable_folder(sink, path);
}
