/* What the interpreter needs of the host's files: its own library, that of site when it is
 * not isolated, and the shared libraries that it maps. Nothing else is bound. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "guest/zygote.h"

#define TREES_MAX 128

struct collector {
    struct px_zygote *zygote;
    struct px_root *root;
    pyexec_error *error;
    size_t count;
};

/* For the guard. */
static int remember(struct collector *collector, const char *path, bool *ret_new)
{
    char **trees = collector->zygote->trees;
    *ret_new = false;
    for (size_t i = 0; i < collector->count; i++)
        if (strcmp(trees[i], path) == 0)
            return 0;
    *ret_new = true;
    if (collector->count == TREES_MAX)
        return 0;
    trees[collector->count] = strdup(path);
    if (!trees[collector->count])
        return px_error_oom(collector->error);
    collector->count++;
    return 0;
}

/* Remembers a tree by the name that code has it by and by the one that files in it resolve to, where
 * a link leads to the interpreter; and adds it to the root. */
static int add_tree(struct collector *collector, const char *path)
{
    bool new, also;
    char resolved[PATH_MAX];
    if (remember(collector, path, &new) < 0)
        return -1;
    if (new && realpath(path, resolved) && remember(collector, resolved, &also) < 0)
        return -1;
    if (!new || px_zygote_lacks(collector->zygote, PX_LAYER_MOUNT_NAMESPACE))
        return 0;
    return px_root_add(collector->root, path, collector->error);
}

static bool is_site(const char *path)
{
    return strstr(path, "site-packages") || strstr(path, "dist-packages");
}

/* The entries of sys.path: those of the standard library first, or the others. */
static int add_python_path(struct collector *collector, bool stdlib, const char *base_prefix)
{
    PyObject *list = PySys_GetObject("path");
    Py_ssize_t length = list && PyList_Check(list) ? PyList_Size(list) : 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        PyObject *item = PyList_GetItem(list, i);
        PyObject *bytes = PyUnicode_Check(item) ? PyUnicode_EncodeFSDefault(item) : NULL;
        const char *path = bytes ? PyBytes_AsString(bytes) : NULL;
        int result = 0;
        if (path && path[0] == '/' && path[1]) {
            bool own = strncmp(path, base_prefix, strlen(base_prefix)) == 0 && !is_site(path);
            if (own == stdlib)
                result = add_tree(collector, path);
        }
        Py_XDECREF(bytes);
        PyErr_Clear();
        if (result < 0)
            return -1;
    }
    return 0;
}

/* The folders of the shared libraries that this process has mapped, and the names by which the
 * loader looks for further ones. */
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
        if (!path || !end || slash == path || !strstr(slash, ".so") ||
            strstr(slash, "/pyexec_guest."))
            continue;
        *end = '\0';
        bool libc = strncmp(slash, "/libc.so", 8) == 0 || strncmp(slash, "/libc-2", 7) == 0;
        *slash = '\0';
        result = px_root_add(collector->root, path, collector->error);
        if (result == 0 && libc) {
            char alias[600];
            const char *last = strrchr(path, '/');
            snprintf(alias, sizeof alias, "/lib%.500s", last && strchr(last, '-') ? last : "");
            if (last && strchr(last, '-'))
                result = px_root_add(collector->root, alias, collector->error);
            snprintf(alias, sizeof alias, "/usr/lib%.500s", last ? last : "");
            if (result == 0 && last && strchr(last, '-'))
                result = px_root_add(collector->root, alias, collector->error);
        }
    }
    fclose(maps);
    return result;
}

static int add_files(struct collector *collector)
{
    static const char *const always[] = {"/etc/ld.so.cache", "/usr/share/zoneinfo"};
    static const char *const online[] = {
        "/etc/resolv.conf", "/etc/hosts",         "/etc/nsswitch.conf",  "/etc/host.conf",
        "/etc/gai.conf",    "/etc/services",      "/etc/protocols",      "/etc/ssl/certs",
        "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/lib/ssl",
        "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted",
    };
    for (size_t i = 0; i < PX_COUNT(always); i++)
        if (px_root_add(collector->root, always[i], collector->error) < 0)
            return -1;
    for (size_t i = 0; collector->zygote->start.network && i < PX_COUNT(online); i++)
        if (px_root_add(collector->root, online[i], collector->error) < 0)
            return -1;
    return px_root_add_folder(collector->root, "/workspace", collector->error);
}

int px_trees_collect(struct px_zygote *zygote, struct px_root *root, pyexec_error *error)
{
    struct collector collector = {zygote, root, error, 0};
    zygote->trees = calloc(TREES_MAX + 1, sizeof *zygote->trees);
    if (!zygote->trees)
        return px_error_oom(error);
    PyObject *prefix = PySys_GetObject("base_prefix");
    PyObject *bytes = prefix ? PyUnicode_EncodeFSDefault(prefix) : NULL;
    const char *base_prefix = bytes ? PyBytes_AsString(bytes) : "/usr";
    int result = add_python_path(&collector, true, base_prefix);
    zygote->stdlib_count = collector.count;
    if (result == 0)
        result = add_python_path(&collector, false, base_prefix);
    Py_XDECREF(bytes);
    PyErr_Clear();
    if (result < 0)
        return -1;
    if (!px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE))
        return add_libraries(&collector) < 0 ? -1 : add_files(&collector);
    /* Landlock alone keeps the rest of the host's tree away then. */
    static const char *const system[] = {"/lib", "/lib64", "/usr/lib", "/usr/lib64",
                                         "/etc/ld.so.cache", "/usr/share/zoneinfo"};
    for (size_t i = 0; i < PX_COUNT(system) && collector.count < TREES_MAX; i++)
        if (!(zygote->trees[collector.count++] = strdup(system[i])))
            return px_error_oom(error);
    return 0;
}
