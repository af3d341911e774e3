/* SPDX-License-Identifier: Apache-2.0 */
#include "base/libexec.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

char *px_libexec_find(const char *name)
{
    static const char *const relative[] = {"", "/../libexec/pyexec"};
    const char *configured = getenv("PYEXEC_LIBEXECDIR");
    char here[PATH_MAX], path[PATH_MAX + 128];
    ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);
    here[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(here, '/');
    if (slash)
        *slash = '\0';
    if (configured && *configured) {
        snprintf(path, sizeof path, "%s/%s", configured, name);
        if (access(path, X_OK) == 0)
            return strdup(path);
    }
    for (size_t i = 0; i < PX_COUNT(relative); i++) {
        snprintf(path, sizeof path, "%s%s/%s", here, relative[i], name);
        if (access(path, X_OK) == 0)
            return strdup(path);
    }
    snprintf(path, sizeof path, "%s/%s", PX_LIBEXECDIR, name);
    return access(path, X_OK) == 0 ? strdup(path) : NULL;
}
