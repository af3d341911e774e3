/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the host's files that the interpreter needs: its own library, the site-packages when it is not isolated,
 * the shared libraries that it maps, and what can be imported from the other folders of sys.path. No other files
 * are bound into the sandbox. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/paths.h"
#include "base/retry.h"
#include "guest/importable.h"
#include "guest/pyobject_access.h"
#include "guest/zygote.h"

/* The most files and folders that are shown one by one: each is a mount, and every child copies all mounts. */
#define ITEMS_MAX 1000

struct collector {
    struct px_zygote *zygote;
    struct px_root *root;
    pyexec_error *error;
    struct px_paths trees; /* library folders, for the guard */
    char stdlib[PATH_MAX];
    const char *prefixes[4]; /* sys.prefix and the like */
    size_t items;
    bool shared; /* the folder of these items also holds files of others */
};

static int remember(struct px_paths *paths, const char *path, bool *ret_new, pyexec_error *error)
{
    *ret_new = false;
    for (size_t i = 0; i < paths->count; i++)
        if (strcmp(paths->items[i], path) == 0)
            return 0;
    char **items = realloc(paths->items, (paths->count + 2) * sizeof *items);
    if (items)
        paths->items = items;
    char *copy = items ? strdup(path) : NULL;
    if (!copy)
        return px_error_oom(error);
    items[paths->count++] = copy;
    items[paths->count] = NULL;
    *ret_new = true;
    return 0;
}

/* Remembers a path as it is given, and also as it is after links are resolved: when a link leads to the
 * interpreter, files below it have the resolved path. */
static int remember_both(struct px_paths *paths, const char *path, bool *ret_new, pyexec_error *error)
{
    bool also;
    char resolved[PATH_MAX];
    if (remember(paths, path, ret_new, error) < 0)
        return -1;
    return *ret_new && realpath(path, resolved) ? remember(paths, resolved, &also, error) : 0;
}

/* Lets scripts read this path. */
static int add_readable(struct collector *collector, const char *path)
{
    bool new;
    if (!px_zygote_lacks(collector->zygote, PX_LAYER_MOUNT_NAMESPACE))
        return px_root_add(collector->root, path, collector->error);
    return remember_both(&collector->zygote->readable, path, &new, collector->error);
}

static int add_tree(struct collector *collector, const char *path)
{
    bool new;
    if (remember_both(&collector->trees, path, &new, collector->error) < 0)
        return -1;
    return new ? add_readable(collector, path) : 0;
}

static int add_item(void *data, const char *path)
{
    struct collector *collector = data;
    if (collector->items++ >= ITEMS_MAX)
        return 0;
    return collector->shared ? add_tree(collector, path) : add_readable(collector, path);
}

/* For the guard all code below a project folder is library code. In a shared folder only the items are. */
static int add_folder(struct collector *collector, const char *path)
{
    bool new;
    collector->shared = px_importable_is_shared(path);
    return collector->shared ? 0 : remember_both(&collector->trees, path, &new, collector->error);
}

/* Adds a path to the list for `pyexec doctor`, with a NUL after it. Paths that do not fit are only counted. */
static void list_item(void *data, const char *path)
{
    struct collector *collector = data;
    struct px_zygote_ready *ready = &collector->zygote->ready;
    size_t length = strlen(path) + 1;
    if (collector->items >= ITEMS_MAX)
        return;
    if (ready->importable_bytes + length <= sizeof ready->importable) {
        memcpy(ready->importable + ready->importable_bytes, path, length);
        ready->importable_bytes += (uint32_t)length;
    } else {
        ready->importable_more++;
    }
}

static bool below_prefix(const struct collector *collector, const char *path)
{
    for (size_t i = 0; i < PX_COUNT(collector->prefixes); i++)
        if (collector->prefixes[i] && px_path_below(path, collector->prefixes[i]))
            return true;
    return false;
}

/* True for the interpreter's site-packages, and for paths inside it. */
static bool is_site(const struct collector *collector, const char *path)
{
    static const char *const names[] = {"/site-packages", "/dist-packages"};
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        const char *at = strstr(path, names[i]);
        size_t length = strlen(names[i]);
        if (at && (!at[length] || (at[length] == '/' && below_prefix(collector, path))))
            return !px_importable_is_project(path);
    }
    return false;
}

static bool is_stdlib(const struct collector *collector, const char *path)
{
    if (strstr(path, "/site-packages") || strstr(path, "/dist-packages"))
        return false;
    if (*collector->stdlib && px_path_below(path, collector->stdlib))
        return true;
    const char *last = strrchr(path, '/');
    size_t length = strlen(last);
    return below_prefix(collector, path) &&
           (strcmp(last, "/lib-dynload") == 0 ||
            (strncmp(last, "/python3", 8) == 0 && strcmp(last + length - 4, ".zip") == 0));
}

/* True if this is a regular file that begins with these four bytes. */
static bool begins_with(const char *path, const char magic[4])
{
    char found[4] = "";
    struct stat status;
    px_auto_fd int fd = px_open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    return fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
           px_pread(fd, found, sizeof found, 0) == sizeof found && memcmp(found, magic, sizeof found) == 0;
}

/* True for a ZIP file, from which zipimport imports. */
static bool is_archive(const char *path)
{
    return begins_with(path, "PK\3\4");
}

static int add_entry(struct collector *collector, const char *path)
{
    struct px_importable_sink sink = {add_item, list_item, collector};
    if (is_site(collector, path))
        return add_tree(collector, path);
    if (is_archive(path)) {
        list_item(collector, path);
        return add_tree(collector, path);
    }
    return add_folder(collector, path) < 0 ? -1 : px_importable_folder(&sink, path);
}

/* Copies an absolute path from a str to `ret`. Returns false when the object is not a str, or the path is too long or
 * relative. */
static bool path_of(PyObject *object, char ret[PATH_MAX])
{
    px_auto_object PyObject *bytes = object && PyUnicode_Check(object) ? PyUnicode_EncodeFSDefault(object) : NULL;
    const char *text = bytes ? PyBytes_AsString(bytes) : NULL;
    PyErr_Clear();
    return text && snprintf(ret, PATH_MAX, "%s", text) < PATH_MAX && ret[0] == '/';
}

/* Adds the entries of sys.path: the ones of the standard library, or all others. */
static int add_python_path(struct collector *collector, bool stdlib)
{
    PyObject *list = PySys_GetObject("path");
    Py_ssize_t length = list && PyList_Check(list) ? PyList_Size(list) : 0;
    char path[PATH_MAX];
    for (Py_ssize_t i = 0; i < length; i++) {
        if (!path_of(PyList_GetItem(list, i), path) || is_stdlib(collector, path) != stdlib)
            continue;
        if ((stdlib ? add_tree(collector, path) : add_entry(collector, path)) < 0)
            return -1;
    }
    return 0;
}

static int add_target(struct collector *collector, PyObject *object)
{
    char path[PATH_MAX];
    struct px_importable_sink sink = {add_item, list_item, collector};
    if (!path_of(object, path))
        return 0;
    char *last = strrchr(path, '/');
    if (strcmp(last, "/__init__.py") == 0)
        *last = '\0';
    return add_folder(collector, path) < 0 ? -1 : px_importable_target(&sink, path);
}

/* Adds the values of a dictionary: paths, or lists of paths. */
static int add_targets(struct collector *collector, PyObject *mapping)
{
    px_auto_object PyObject *values = mapping && PyDict_Check(mapping) ? PyDict_Values(mapping) : NULL;
    Py_ssize_t count = values ? PyList_Size(values) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = PyList_GetItem(values, i);
        Py_ssize_t length = PyList_Check(value) ? PyList_Size(value) : 1;
        for (Py_ssize_t j = 0; j < length; j++)
            if (add_target(collector, PyList_Check(value) ? PyList_GetItem(value, j) : value) < 0)
                return -1;
    }
    return 0;
}

static PyObject *attribute(PyObject *object, const char *name)
{
    PyObject *value = object ? PyObject_GetAttrString(object, name) : NULL;
    PyErr_Clear();
    return value;
}

/* Adds editable installs whose packages are not on sys.path (PEP 660). The finder of setuptools has its paths in
 * its module; the finder of the package "editables" (hatchling, pdm) has them in its class. */
static int add_editables(struct collector *collector)
{
    PyObject *finders = PySys_GetObject("meta_path"), *modules = PySys_GetObject("modules");
    Py_ssize_t count = finders && PyList_Check(finders) ? PyList_Size(finders) : 0;
    for (Py_ssize_t i = 0; modules && PyDict_Check(modules) && i < count; i++) {
        PyObject *finder = PyList_GetItem(finders, i);
        px_auto_object PyObject *name = attribute(finder, "__module__");
        PyObject *module = name ? PyDict_GetItem(modules, name) : NULL;
        px_auto_object PyObject *mapping = attribute(module, "MAPPING");
        px_auto_object PyObject *namespaces = attribute(module, "NAMESPACES");
        px_auto_object PyObject *redirections = attribute(finder, "_redirections");
        if (add_targets(collector, mapping) < 0 || add_targets(collector, namespaces) < 0 ||
            add_targets(collector, redirections) < 0)
            return -1;
    }
    return 0;
}

/* True for a library folder of the interpreter or of the system: scripts see such a folder whole. */
static bool is_library_folder(const struct collector *collector, const char *folder)
{
    static const char *const system[] = {"/lib",       "/lib32",         "/lib64",           "/usr/lib",  "/usr/lib32",
                                         "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/nix/store"};
    for (size_t i = 0; i < PX_COUNT(system); i++)
        if (px_path_below(folder, system[i]))
            return true;
    const char *last = strrchr(folder, '/');
    return below_prefix(collector, folder) && strncmp(last, "/lib", 4) == 0;
}

/* Adds a folder that has a mapped library: the whole folder, or only the shared libraries in it. The name of a
 * file does not prove that it is a library (x.sock, x.sops.json), and a link with such a name may lead to any
 * file, so the content is checked. */
static int add_library_folder(struct collector *collector, const char *folder)
{
    if (is_library_folder(collector, folder))
        return px_root_add(collector->root, folder, collector->error);
    DIR *entries = opendir(folder);
    const struct dirent *entry;
    char path[PATH_MAX];
    int result = 0;
    while (entries && result == 0 && (entry = readdir(entries)))
        if (strstr(entry->d_name, ".so") && entry->d_name[0] != '.' &&
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path &&
            begins_with(path, "\177ELF"))
            result = px_root_add(collector->root, path, collector->error);
    if (entries)
        closedir(entries);
    return result;
}

/* Adds other paths of the C library's folder, where the loader looks for more libraries. */
static int add_loader_folders(struct collector *collector, const char *folder)
{
    char alias[600];
    const char *last = strrchr(folder, '/');
    if (!last || !strchr(last, '-'))
        last = "";
    snprintf(alias, sizeof alias, "/lib%.500s", last);
    if (px_root_add(collector->root, alias, collector->error) < 0)
        return -1;
    snprintf(alias, sizeof alias, "/usr/lib%.500s", last);
    return *last ? px_root_add(collector->root, alias, collector->error) : 0;
}

static int add_libraries(struct collector *collector)
{
    px_auto_fd int fd = px_openat(collector->zygote->proc, "self/maps", O_RDONLY | O_CLOEXEC, 0);
    FILE *maps = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!maps)
        return px_error_errno(collector->error, PYEXEC_INTERNAL, errno, "can't read /proc/self/maps");
    fd = -1;
    char line[8192];
    int result = 0;
    while (result == 0 && fgets(line, sizeof line, maps)) {
        char *path = strchr(line, '/'), *end = path ? strchr(path, '\n') : NULL;
        char *slash = path ? strrchr(path, '/') : NULL;
        if (!path || !end || slash == path || !strstr(slash, ".so") || strstr(slash, "/pyexec_guest"))
            continue;
        *end = '\0';
        bool libc = strncmp(slash, "/libc.so", 8) == 0 || strncmp(slash, "/libc-2", 7) == 0;
        *slash = '\0';
        result = add_library_folder(collector, path);
        if (result == 0 && libc)
            result = add_loader_folders(collector, path);
    }
    fclose(maps);
    return result;
}

/* Libraries read /proc/self/exe to learn which program runs them. TensorFlow ends the process when there is none,
 * or when there is no /proc/self/cmdline. threadpoolctl reads /proc/self/maps when /proc/self exists. Both files
 * are empty here, and this /proc has no other entries. */
static int read_program(const struct px_zygote *zygote, char target[PATH_MAX])
{
    ssize_t n = readlinkat(zygote->proc, "self/exe", target, PATH_MAX - 1);
    target[n > 0 ? n : 0] = '\0';
    return n > 0 ? 0 : -1;
}

static int add_program(struct collector *collector)
{
    char target[PATH_MAX];
    pyexec_error *error = collector->error;
    if (read_program(collector->zygote, target) < 0)
        return 0;
    return px_root_add_folder(collector->root, "/proc", error) < 0 ||
                   px_root_add_folder(collector->root, "/proc/self", error) < 0 ||
                   px_root_add_file(collector->root, "/proc/self/cmdline", error) < 0 ||
                   px_root_add_file(collector->root, "/proc/self/maps", error) < 0
               ? -1
               : px_root_add_link(collector->root, "/proc/self/exe", target, error);
}

int px_library_dirs_show_program(const struct px_zygote *zygote, int folder)
{
    char target[PATH_MAX];
    if (read_program(zygote, target) < 0)
        return 0;
    if (mkdirat(folder, "self", 0755) < 0 || symlinkat(target, folder, "self/exe") < 0)
        return -1;
    px_auto_fd int cmdline = px_openat(folder, "self/cmdline", O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
    px_auto_fd int maps = px_openat(folder, "self/maps", O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
    return cmdline < 0 || maps < 0 ? -1 : 0;
}

static int add_files(struct collector *collector)
{
    /* setlocale(LC_ALL, "") needs the locale that LANG names. */
    static const char *const always[] = {"/etc/ld.so.cache", "/usr/share/zoneinfo", "/usr/lib/locale/C.utf8",
                                         "/usr/lib/locale/C.UTF-8"};
    static const char *const online[] = {
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/host.conf",
        "/etc/gai.conf",
        "/etc/services",
        "/etc/protocols",
        "/etc/ssl/certs",
        "/usr/share/ca-certificates",
        "/usr/local/share/ca-certificates",
        "/usr/lib/ssl",
        "/etc/ssl/openssl.cnf",
        "/etc/pki/tls/certs",
        "/etc/pki/ca-trust/extracted",
    };
    for (size_t i = 0; i < PX_COUNT(always); i++)
        if (px_root_add(collector->root, always[i], collector->error) < 0)
            return -1;
    for (size_t i = 0; collector->zygote->start.network == PX_NETWORK_HOST && i < PX_COUNT(online); i++)
        if (px_root_add(collector->root, online[i], collector->error) < 0)
            return -1;
    static const char *const bundles[] = {PX_CA_FILE, PX_CA_FILE_SECRETS};
    for (size_t i = 0; i < PX_COUNT(bundles); i++)
        if (collector->zygote->certificates[i] >= 0 &&
            px_root_add_content(collector->root, bundles[i], collector->zygote->certificates[i], collector->error) < 0)
            return -1;
    return px_root_add_folder(collector->root, "/workspace", collector->error) < 0 ? -1 : add_program(collector);
}

/* Finds the folder of the standard library from `encodings`, which every interpreter has loaded. */
static void find_stdlib(struct collector *collector)
{
    px_auto_object PyObject *module = px_pyobject_module("encodings");
    px_auto_object PyObject *file = attribute(module, "__file__");
    if (path_of(file, collector->stdlib))
        for (int up = 0; up < 2 && *collector->stdlib; up++)
            *strrchr(collector->stdlib, '/') = '\0';
    else
        *collector->stdlib = '\0';
}

/* Without a mount namespace only Landlock keeps scripts away from the rest of the host's files. */
static int add_system_readable(struct collector *collector)
{
    static const char *const system[] = {"/lib",       "/lib64",           "/usr/lib",
                                         "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"};
    for (size_t i = 0; i < PX_COUNT(system); i++)
        if (add_readable(collector, system[i]) < 0)
            return -1;
    return 0;
}

static int collect(struct collector *collector)
{
    find_stdlib(collector);
    if (add_python_path(collector, true) < 0)
        return -1;
    collector->zygote->stdlib_count = collector->trees.count;
    if (add_python_path(collector, false) < 0 || add_editables(collector) < 0)
        return -1;
    if (px_zygote_lacks(collector->zygote, PX_LAYER_MOUNT_NAMESPACE))
        return add_system_readable(collector);
    return add_libraries(collector) < 0 ? -1 : add_files(collector);
}

int px_library_dirs_collect(struct px_zygote *zygote, struct px_root *root, pyexec_error *error)
{
    static const char *const names[] = {"base_prefix", "base_exec_prefix", "prefix", "exec_prefix"};
    struct collector collector = {.zygote = zygote, .root = root, .error = error};
    char prefixes[PX_COUNT(names)][PATH_MAX];
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (path_of(PySys_GetObject(names[i]), prefixes[i]))
            collector.prefixes[i] = prefixes[i];
    int result = collect(&collector);
    PyErr_Clear();
    zygote->trees = collector.trees.items;
    return result;
}
