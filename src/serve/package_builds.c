/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/package_builds.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/processors.h"
#include "environments/environment.h"
#include "environments/environment_names.h"
#include "serve/package_process.h"

#define LOOK_MS 50 /* interval of looks whether a request was cancelled */

const char *const px_build_outcome_names[PX_BUILD_OUTCOMES] = {[PX_BUILD_FOUND] = "found",
                                                               [PX_BUILD_MADE] = "made",
                                                               [PX_BUILD_FAILED] = "failed",
                                                               [PX_BUILD_CANCELLED] = "cancelled"};

/* A list of packages whose environment is being made, or that somebody waits for. */
struct package_build {
    struct package_build *next;
    char name[PX_BUILD_NAME_SIZE]; /* of the environment */
    unsigned users;                /* requests that make it or wait */
    bool building;
    unsigned ended; /* how often it has ended; the rest is that of the last time */
    enum px_build_outcome outcome;
    pyexec_error error;
};

struct px_builds {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const struct px_serve_options *options;
    struct px_log *log;
    struct px_environments *store;
    struct package_build *list;
    unsigned most_threads; /* that may wait in px_builds_get() */
    struct px_build_counts counts;
    struct px_histogram durations;
};

/* Threads that wait here run nothing, so they must not be all that the server has. */
static unsigned most_threads(const struct px_serve_options *options)
{
    int64_t half = (px_turns_for(options->max_concurrent) + options->max_asleep) / 2;
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

void px_builds_free(struct px_builds *builds)
{
    if (!builds)
        return;
    px_environments_free(builds->store);
    pthread_cond_destroy(&builds->changed);
    pthread_mutex_destroy(&builds->lock);
    free(builds);
}

/* ---- The environment of a list ---- */

static int make_name(const struct px_builds *builds, const char *packages, char ret[PX_BUILD_NAME_SIZE],
                     pyexec_error *error)
{
    px_auto_buffer struct px_buffer lines = {0};
    px_buffer_printf(&lines, "%s\n", packages);
    const struct px_environment_wish wish = {.requirements = px_buffer_shown(&lines),
                                             .default_python = builds->options->policy->python_bin};
    return px_buffer_ok(&lines) ? px_environment_cached_name(&wish, ret, error) : px_error_oom(error);
}

static bool is_there(struct px_builds *builds, const char *name)
{
    pyexec_error ignored;
    const struct px_environment *environment;
    if (!builds->store || px_environments_get(builds->store, name, &environment, &ignored) < 0)
        return false;
    px_environment_touch(environment);
    px_environment_unref(environment);
    return true;
}

/* ---- The lists that are being made; the caller holds the lock ---- */

/* Returns the list, with one more user, or NULL without memory. */
static struct package_build *hold_build(struct px_builds *builds, const char *name)
{
    struct package_build *found = builds->list;
    while (found && strcmp(found->name, name) != 0)
        found = found->next;
    if (!found) {
        found = calloc(1, sizeof *found);
        if (!found)
            return NULL;
        snprintf(found->name, sizeof found->name, "%s", name);
        found->next = builds->list;
        builds->list = found;
    }
    found->users++;
    return found;
}

static void release_build(struct px_builds *builds, struct package_build *build)
{
    if (--build->users)
        return;
    struct package_build **at = &builds->list;
    while (*at != build)
        at = &(*at)->next;
    *at = build->next;
    free(build);
}

/* ---- Building ---- */

/* True when the process is to be killed: nobody waits for it any more. */
static bool is_unwanted(struct px_builds *builds, const struct package_build *build, const struct px_build_wish *wish)
{
    pthread_mutex_lock(&builds->lock);
    bool unwanted = wish->is_cancelled(wish->closure) && build->users == 1;
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
    px_buffer_printf(&text, ": %.*s", (int)px_package_process_said(output), output);
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
                                         const struct px_build_wish *wish, pyexec_error *error)
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
    if (!late && status == 0)
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
                                  const struct px_build_wish *wish, pyexec_error *error)
{
    build->building = true;
    builds->counts.building++;
    pthread_mutex_unlock(&builds->lock);
    int64_t began = px_now_ns();
    enum px_build_outcome outcome = run_process(builds, build, wish, error);
    px_histogram_add(&builds->durations, px_now_ns() - began);
    pthread_mutex_lock(&builds->lock);
    builds->counts.building--;
    build->building = false;
    build->ended++;
    build->outcome = outcome;
    if (outcome == PX_BUILD_FAILED)
        build->error = *error;
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
static enum px_build_outcome await_other(struct px_builds *builds, const struct package_build *build,
                                         const struct px_build_wish *wish, pyexec_error *error)
{
    unsigned ended = build->ended;
    while (build->ended == ended && !wish->is_cancelled(wish->closure))
        look_later(builds);
    if (build->ended == ended)
        return PX_BUILD_CANCELLED;
    if (build->outcome == PX_BUILD_FAILED)
        *error = build->error;
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
    px_auto(px_texts_done) struct px_texts names = {0};
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

static enum px_build_outcome get(struct px_builds *builds, struct package_build *build,
                                 const struct px_build_wish *wish, pyexec_error *error)
{
    int64_t end = px_now_ns() + builds->options->env->build_timeout_ms * PX_NS_PER_MS;
    unsigned most_builds = (unsigned)builds->options->env->max_builds;
    while (!wish->is_cancelled(wish->closure)) {
        if (build->building) {
            enum px_build_outcome outcome = await_other(builds, build, wish, error);
            if (outcome != PX_BUILD_CANCELLED)
                return outcome;
        } else if (is_there(builds, build->name)) {
            return PX_BUILD_FOUND;
        } else if (builds->counts.building < most_builds) {
            return is_full(builds, error) ? PX_BUILD_FAILED : make(builds, build, wish, error);
        } else if (px_now_ns() < end) {
            look_later(builds);
        } else {
            return refuse(builds->counts.building + builds->counts.waiting, error);
        }
    }
    return PX_BUILD_CANCELLED;
}

/* With the lock held, which is released meanwhile. */
static enum px_build_outcome get_new(struct px_builds *builds, const char *name, const struct px_build_wish *wish,
                                     pyexec_error *error)
{
    unsigned threads = builds->counts.building + builds->counts.waiting;
    if (threads >= builds->most_threads)
        return refuse(threads, error);
    pthread_mutex_unlock(&builds->lock);
    wish->before_waiting(wish->closure);
    pthread_mutex_lock(&builds->lock);
    struct package_build *build = hold_build(builds, name);
    if (!build) {
        px_error_oom(error);
        return PX_BUILD_FAILED;
    }
    enum px_build_outcome outcome = get(builds, build, wish, error);
    release_build(builds, build);
    return outcome;
}

enum px_build_outcome px_builds_get(struct px_builds *builds, const struct px_build_wish *wish,
                                    char ret_name[PX_BUILD_NAME_SIZE], pyexec_error *error)
{
    enum px_build_outcome outcome = PX_BUILD_FAILED;
    bool named = make_name(builds, wish->packages, ret_name, error) == 0;
    pthread_mutex_lock(&builds->lock);
    if (named)
        outcome = is_there(builds, ret_name) ? PX_BUILD_FOUND : get_new(builds, ret_name, wish, error);
    builds->counts.outcomes[outcome]++;
    pthread_mutex_unlock(&builds->lock);
    if (outcome != PX_BUILD_FOUND && outcome != PX_BUILD_MADE)
        *ret_name = '\0';
    return outcome;
}

bool px_builds_is_of(const struct px_builds *builds, const char *packages, const char *name)
{
    char own[PX_BUILD_NAME_SIZE];
    pyexec_error ignored;
    return make_name(builds, packages, own, &ignored) == 0 && strcmp(own, name) == 0;
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
