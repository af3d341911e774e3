/* SPDX-License-Identifier: Apache-2.0 */
#include "base/libexec.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"

char *px_libexec_find(const char *name, int mode)
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
        if (access(path, mode) == 0)
            return strdup(path);
    }
    for (size_t i = 0; i < PX_COUNT(relative); i++) {
        snprintf(path, sizeof path, "%s%s/%s", here, relative[i], name);
        if (access(path, mode) == 0)
            return strdup(path);
    }
    snprintf(path, sizeof path, "%s/%s", PX_LIBEXECDIR, name);
    return access(path, mode) == 0 ? strdup(path) : NULL;
}

#ifdef PX_SANITIZED
/* Adds the options of the sanitizers: without them, reports of a program with a short environment would be lost. */
static char **with_options(char *const environment[])
{
    static const char *const names[] = {"ASAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS=", "UBSAN_OPTIONS="};
    size_t count = 0;
    while (environment[count])
        count++;
    char **all = calloc(count + PX_COUNT(names) + 1, sizeof *all);
    if (!all)
        return NULL;
    memcpy(all, environment, count * sizeof *all);
    for (char **at = environ; *at; at++)
        for (size_t i = 0; i < PX_COUNT(names); i++)
            if (strncmp(*at, names[i], strlen(names[i])) == 0)
                all[count++] = *at;
    return all;
}
#endif

int px_libexec_spawn(pid_t *ret, const char *program, char *const arguments[], char *const environment[],
                     const int descriptors[], size_t count)
{
#ifdef PX_SANITIZED
    px_auto_free char **more = with_options(environment);
    environment = more;
    if (!more)
        return ENOMEM;
#endif
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int failed = 0;
    for (size_t i = 0; i < count; i++)
        failed |= posix_spawn_file_actions_adddup2(&actions, descriptors[i], (int)i);
    if (!failed)
        failed = posix_spawn(ret, program, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failed)
        *ret = 0;
    return failed;
}

void px_libexec_hide(void)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
#ifndef PX_SANITIZED /* the leak checker of the sanitizers must read this program's memory */
    prctl(PR_SET_DUMPABLE, 0);
#endif
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
}
