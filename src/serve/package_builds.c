/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/package_builds.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "environments/environment.h"
#include "environments/environment_names.h"
#include "serve/package_process.h"

#define LISTS_MAX 256u /* that are remembered */
#define LOOK_MS 50     /* interval of looks whether a request was cancelled */

const char *const px_build_outcome_names[PX_BUILD_OUTCOMES] = {[PX_BUILD_FOUND] = "found",
                                                               [PX_BUILD_MADE] = "made",
                                                               [PX_BUILD_FAILED] = "failed",
                                                               [PX_BUILD_CANCELLED] = "cancelled"};

/* A list of packages. */
struct package_build {
    struct package_build *next;
    char *packages;
    char name[PX_BUILD_NAME_SIZE]; /* of the environment that was made last, or "" */
    bool building;
    unsigned waiters; /* requests that wait for `building` to end */
    unsigned ended;   /* how often it has ended; the rest is that of the last time */
    enum px_build_outcome outcome;
    pyexec_error error;
};

struct px_builds {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const struct px_serve_options *options;
    struct px_log *log;
    struct px_environments *store;
    struct package_build *list; /* the one that was used last is first */
    size_t count;
    unsigned most_threads; /* that may wait in px_builds_get() */
    struct px_build_counts counts;
    struct px_histogram durations;
};

/* Threads that wait here run nothing, so they must not be all that the server has. */
static unsigned most_threads(const struct px_serve_options *options)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t turns = options->max_concurrent ? options->max_concurrent : 2 * (int64_t)processors;
    int64_t half = (turns + options->max_asleep) / 2;
    return half < 1 ? 1 : half > 10000 ? 10000 : (unsigned)half;
}

int px_builds_new(const struct px_serve_options *options, struct px_log *log, struct px_builds **ret,
                  pyexec_error *error)
{
    struct px_builds *builds = calloc(1, sizeof *builds);
    if (!builds)
        return px_error_oom(error);
    pthread_mutex_init(&builds->lock, NULL);
    px_cond_init(&builds->changed);
    builds->options = options;
    builds->log = log;
    builds->most_threads = most_threads(options);
    /* A user without a home folder has no store; then the process says so. */
    (void)!px_environments_new(options->env->root, &builds->store, error);
    *ret = builds;
    return 0;
}

static void free_build(struct package_build *build)
{
    free(build->packages);
    free(build);
}

void px_builds_free(struct px_builds *builds)
{
    if (!builds)
        return;
    while (builds->list) {
        struct package_build *next = builds->list->next;
        free_build(builds->list);
        builds->list = next;
    }
    px_environments_free(builds->store);
    pthread_cond_destroy(&builds->changed);
    pthread_mutex_destroy(&builds->lock);
    free(builds);
}

/* ---- The lists; the caller holds the lock ---- */

/* Forgets the list that was not used for the longest time, and that nobody holds. */
static void forget_one(struct px_builds *builds)
{
    struct package_build **oldest = NULL;
    for (struct package_build **at = &builds->list; *at; at = &(*at)->next)
        if (!(*at)->building && !(*at)->waiters)
            oldest = at;
    if (!oldest)
        return;
    struct package_build *gone = *oldest;
    *oldest = gone->next;
    free_build(gone);
    builds->count--;
}

/* Returns the list, which is then the first one, or NULL without memory. */
static struct package_build *find_build(struct px_builds *builds, const char *packages)
{
    struct package_build **at = &builds->list, *found;
    while (*at && strcmp((*at)->packages, packages) != 0)
        at = &(*at)->next;
    if ((found = *at)) {
        *at = found->next;
    } else {
        if (builds->count >= LISTS_MAX)
            forget_one(builds);
        found = calloc(1, sizeof *found);
        if (found && !(found->packages = strdup(packages))) {
            free(found);
            found = NULL;
        }
        if (!found)
            return NULL;
        builds->count++;
    }
    found->next = builds->list;
    builds->list = found;
    return found;
}

static bool is_there(struct px_builds *builds, const struct package_build *build)
{
    pyexec_error ignored;
    const struct px_environment *environment;
    if (build->building || !*build->name || !builds->store ||
        px_environments_get(builds->store, build->name, &environment, &ignored) < 0)
        return false;
    px_environment_unref(environment);
    return true;
}

/* ---- Building ---- */

/* The name is on the last line that the program printed. */
static bool read_name(const char *output, char ret[PX_BUILD_NAME_SIZE])
{
    const char *found = NULL;
    for (const char *at = output; (at = strstr(at, PX_ENVIRONMENT_CACHED)); at++)
        if (at == output || at[-1] == '\n')
            found = at;
    size_t length = found ? strcspn(found, "\n") : 0;
    if (!px_environment_name_valid(found ? found : "", length))
        return false;
    snprintf(ret, PX_BUILD_NAME_SIZE, "%.*s", (int)length, found);
    return true;
}

/* True when the process is to be killed: nobody waits for it any more. */
static bool is_unwanted(struct px_builds *builds, const struct package_build *build, const struct px_build_wish *wish)
{
    pthread_mutex_lock(&builds->lock);
    bool unwanted = wish->is_cancelled(wish->closure) && !build->waiters;
    pthread_mutex_unlock(&builds->lock);
    return unwanted;
}

static void log_failure(struct px_builds *builds, const char *packages, const char *output)
{
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_add_string(&text, packages);
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] == '\n')
            text.data[i] = ' ';
    px_buffer_printf(&text, ": %s", output);
    px_log_event(builds->log, "no environment for packages", px_buffer_shown(&text));
}

static int too_late(const struct px_builds *builds, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INTERNAL, "packages: the environment was not ready after %lld seconds",
                 (long long)(builds->options->env->build_timeout_ms / 1000));
    return px_error_hint(
        error, "Ask for fewer packages. The operator can make the environment beforehand with `pyexec env create`, or "
               "raise build_timeout in the section [env].");
}

/* Runs the process without the lock. */
static enum px_build_outcome run_process(struct px_builds *builds, const struct package_build *build,
                                         const struct px_build_wish *wish, char name[PX_BUILD_NAME_SIZE],
                                         pyexec_error *error)
{
    struct px_package_process process;
    px_auto_buffer struct px_buffer output = {0};
    int64_t end = px_now_ns() + builds->options->env->build_timeout_ms * PX_NS_PER_MS;
    if (px_package_process_start(&process, builds->options, wish->packages, error) < 0)
        return PX_BUILD_FAILED;
    bool unwanted = false, late = false;
    while (px_package_process_read(&process, LOOK_MS, &output)) {
        unwanted = unwanted || is_unwanted(builds, build, wish);
        late = late || px_now_ns() >= end;
        if (unwanted || late)
            px_package_process_kill(&process);
    }
    int status = px_package_process_end(&process);
    if (unwanted)
        return PX_BUILD_CANCELLED;
    if (!late && status == 0 && read_name(px_buffer_shown(&output), name))
        return PX_BUILD_MADE;
    log_failure(builds, wish->packages, late ? "the deadline is over" : px_buffer_shown(&output));
    if (late)
        too_late(builds, error);
    else
        px_package_process_explain(status, px_buffer_shown(&output), error);
    return PX_BUILD_FAILED;
}

/* With the lock held, which is released meanwhile. */
static enum px_build_outcome make(struct px_builds *builds, struct package_build *build,
                                  const struct px_build_wish *wish, char name[PX_BUILD_NAME_SIZE], pyexec_error *error)
{
    char made[PX_BUILD_NAME_SIZE] = "";
    build->building = true;
    builds->counts.building++;
    pthread_mutex_unlock(&builds->lock);
    int64_t began = px_now_ns();
    enum px_build_outcome outcome = run_process(builds, build, wish, made, error);
    px_histogram_add(&builds->durations, px_now_ns() - began);
    pthread_mutex_lock(&builds->lock);
    builds->counts.building--;
    build->building = false;
    build->ended++;
    build->outcome = outcome;
    if (outcome == PX_BUILD_FAILED)
        build->error = *error;
    memcpy(build->name, made, sizeof made);
    memcpy(name, made, sizeof made);
    pthread_cond_broadcast(&builds->changed);
    return outcome;
}

/* ---- Waiting; the caller holds the lock ---- */

static void look_later(struct px_builds *builds)
{
    builds->counts.waiting++;
    px_cond_wait_until(&builds->changed, &builds->lock, px_now_ns() + LOOK_MS * PX_NS_PER_MS);
    builds->counts.waiting--;
}

/* Waits until the thread that makes it has ended. PX_BUILD_CANCELLED also when that one was cancelled. */
static enum px_build_outcome await_other(struct px_builds *builds, struct package_build *build,
                                         const struct px_build_wish *wish, char name[PX_BUILD_NAME_SIZE],
                                         pyexec_error *error)
{
    unsigned ended = build->ended;
    build->waiters++;
    while (build->ended == ended && !wish->is_cancelled(wish->closure))
        look_later(builds);
    build->waiters--;
    if (build->ended == ended)
        return PX_BUILD_CANCELLED;
    if (build->outcome == PX_BUILD_FAILED)
        *error = build->error;
    memcpy(name, build->name, PX_BUILD_NAME_SIZE);
    return build->outcome == PX_BUILD_MADE ? PX_BUILD_FOUND : build->outcome;
}

static enum px_build_outcome refuse(unsigned count, pyexec_error *error)
{
    px_error_set(error, PYEXEC_OVERLOADED, "packages: %u requests wait for environments that are being made", count);
    error->retry_after_ms = 5000;
    px_error_hint(error, "Send it again later. The operator can raise max_builds in the section [env].");
    return PX_BUILD_FAILED;
}

/* Each spelling of versions gives an environment of its own, so callers could fill the disk without this limit. */
static bool is_full(const struct px_builds *builds, pyexec_error *error)
{
    char root[PATH_MAX];
    size_t cached = 0;
    px_auto(px_environment_names_done) struct px_environment_names names = {0};
    const struct px_env_config *env = builds->options->env;
    if (env->root)
        snprintf(root, sizeof root, "%s", env->root);
    else if (px_environments_default_root(root, sizeof root, error) < 0)
        return true;
    if (px_environment_names_given(root, &names, &cached, error) < 0)
        return true;
    if (cached < (size_t)env->max_cached)
        return false;
    px_error_set(error, PYEXEC_OVERLOADED, "packages: the store already has %zu environments for requests", cached);
    error->retry_after_ms = 60000;
    px_error_hint(error,
                  "Ask for a list of packages that was used before. The operator can remove old environments with "
                  "`pyexec env prune`, or raise max_cached in the section [env].");
    return true;
}

static enum px_build_outcome get(struct px_builds *builds, const struct px_build_wish *wish,
                                 char name[PX_BUILD_NAME_SIZE], pyexec_error *error)
{
    int64_t end = px_now_ns() + builds->options->env->build_timeout_ms * PX_NS_PER_MS;
    unsigned most_builds = (unsigned)builds->options->env->max_builds;
    while (!wish->is_cancelled(wish->closure)) {
        struct package_build *build = find_build(builds, wish->packages);
        if (!build) {
            px_error_oom(error);
            return PX_BUILD_FAILED;
        }
        if (is_there(builds, build)) {
            memcpy(name, build->name, PX_BUILD_NAME_SIZE);
            return PX_BUILD_FOUND;
        }
        if (!build->building && builds->counts.building < most_builds)
            return is_full(builds, error) ? PX_BUILD_FAILED : make(builds, build, wish, name, error);
        if (build->building) {
            enum px_build_outcome outcome = await_other(builds, build, wish, name, error);
            if (outcome != PX_BUILD_CANCELLED)
                return outcome;
        } else if (px_now_ns() < end) {
            look_later(builds);
        } else {
            return refuse(builds->counts.building + builds->counts.waiting, error);
        }
    }
    return PX_BUILD_CANCELLED;
}

enum px_build_outcome px_builds_get(struct px_builds *builds, const struct px_build_wish *wish,
                                    char ret_name[PX_BUILD_NAME_SIZE], pyexec_error *error)
{
    enum px_build_outcome outcome = PX_BUILD_FOUND;
    pthread_mutex_lock(&builds->lock);
    struct package_build *build = find_build(builds, wish->packages);
    unsigned threads = builds->counts.building + builds->counts.waiting;
    if (build && is_there(builds, build)) {
        memcpy(ret_name, build->name, PX_BUILD_NAME_SIZE);
    } else if (threads >= builds->most_threads) {
        outcome = refuse(threads, error);
    } else {
        pthread_mutex_unlock(&builds->lock);
        wish->before_waiting(wish->closure);
        pthread_mutex_lock(&builds->lock);
        outcome = get(builds, wish, ret_name, error);
    }
    builds->counts.outcomes[outcome]++;
    pthread_mutex_unlock(&builds->lock);
    return outcome;
}

bool px_builds_is_of(struct px_builds *builds, const char *packages, const char *name)
{
    pthread_mutex_lock(&builds->lock);
    const struct package_build *build = builds->list;
    while (build && strcmp(build->packages, packages) != 0)
        build = build->next;
    bool is = build && *name && strcmp(build->name, name) == 0;
    pthread_mutex_unlock(&builds->lock);
    return is;
}

void px_builds_count(struct px_builds *builds, struct px_build_counts *ret)
{
    pthread_mutex_lock(&builds->lock);
    *ret = builds->counts;
    pthread_mutex_unlock(&builds->lock);
}

struct px_histogram *px_builds_durations(struct px_builds *builds)
{
    return &builds->durations;
}
