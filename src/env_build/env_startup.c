/* SPDX-License-Identifier: Apache-2.0 */
#include "env_build/env_startup.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "env_build/env_tree.h"

/* A .pth file may hold code, or paths of the host, whose modules scripts could then read. */
static bool is_startup(const char *name)
{
    size_t length = strlen(name);
    if (strncmp(name, "sitecustomize", 13) == 0 || strncmp(name, "usercustomize", 13) == 0)
        return !name[13] || name[13] == '.';
    return length > 4 && strcmp(name + length - 4, ".pth") == 0;
}

static int drop_in(DIR *folder)
{
    for (const struct dirent *entry; (entry = readdir(folder));)
        if (is_startup(entry->d_name) && env_tree_remove(dirfd(folder), entry->d_name) < 0)
            return -1;
    return 0;
}

int env_startup_drop(const char *folder, pyexec_error *error)
{
    px_auto_buffer struct px_buffer path = {0};
    px_buffer_printf(&path, "%s/env/venv/lib", folder);
    px_auto_folder DIR *versions = px_buffer_ok(&path) ? opendir(path.data) : NULL;
    for (const struct dirent *entry; versions && (entry = readdir(versions));) {
        px_auto_buffer struct px_buffer below = {0};
        px_buffer_printf(&below, "%s/%s/site-packages", path.data, entry->d_name);
        px_auto_folder DIR *site = px_buffer_ok(&below) && *entry->d_name != '.' ? opendir(below.data) : NULL;
        if (site && drop_in(site) < 0)
            return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't remove a file of '%s'", below.data);
    }
    return versions ? 0 : px_error_errno(error, PYEXEC_INTERNAL, errno, "can't read '%s'", px_buffer_shown(&path));
}
