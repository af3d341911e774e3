/* SPDX-License-Identifier: Apache-2.0 */
/* The figures come from the script that imports the package, so a package could invent them. They only become defaults of
 * its own environment, within the ranges of the policy and below every ceiling. */
#include "env_build/env_measure.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "policy/policy.h"

#define MEBIBYTE (INT64_C(1) << 20)
#define WIDE_SPACE (INT64_C(64) << 30)
#define WIDE_SECONDS 120
#define WIDE_THREADS 200
#define MEASURED_MAX 200
#define ERROR_LONGEST 400

/* ---- One run ---- */

/* What an import needed. */
struct figures {
    double ms, cpu_ms;
    int64_t address_space, threads, memory;
};

/* The address space in use is what the limit leaves free, and so are the threads: nothing of /proc is visible to a script. The
 * mappings of the search can only be read, so that they need no memory. */
static const char before[] = "import time as _time\n_start = _time.perf_counter()\n";
static const char after[] =
    "_ms = (_time.perf_counter() - _start) * 1000\n"
    "import mmap as _mmap, _thread\n"
    "_low, _high = 0, %lld\n"
    "while _high - _low > 65536:\n"
    "    _middle = (_low + _high) // 2\n"
    "    try:\n"
    "        _mmap.mmap(-1, _middle, flags=_mmap.MAP_PRIVATE | _mmap.MAP_ANONYMOUS, prot=_mmap.PROT_READ).close()\n"
    "        _low = _middle\n"
    "    except (OSError, MemoryError, ValueError):\n"
    "        _high = _middle\n"
    "_thread.stack_size(65536)\n"
    "_wait = _thread.allocate_lock()\n"
    "_wait.acquire()\n"
    "_count = 0\n"
    "try:\n"
    "    while _count < 1000:\n"
    "        _thread.start_new_thread(_wait.acquire, ())\n"
    "        _count += 1\n"
    "except RuntimeError:\n"
    "    pass\n"
    "'%%.3f %%d %%d' %% (_ms, %lld - _low, _count)\n";

static void free_request(pyexec_request **request)
{
    pyexec_request_free(*request);
}

static void free_result(pyexec_result **result)
{
    pyexec_result_free(*result);
}

static void free_executor(pyexec_executor **executor)
{
    pyexec_executor_free(*executor);
}

static int run(pyexec_executor *executor, const struct px_buffer *code, pyexec_result **ret, pyexec_error *error)
{
    px_auto(free_request) pyexec_request *request = pyexec_request_new();
    if (!px_buffer_ok(code) || !request || pyexec_request_set_code(request, code->data, code->length) < 0)
        return px_error_oom(error);
    return pyexec_execute_once(executor, request, ret, error);
}

/* Returns 1 and the figures, or 0 and the reason why it does not work. */
static int read_figures(const pyexec_result *result, struct figures *ret, struct px_buffer *reason)
{
    long long space, count;
    const char *value = pyexec_result_last_value(result);
    *ret = (struct figures){.cpu_ms = pyexec_result_cpu_ms(result),
                            .memory = (int64_t)pyexec_result_peak_memory_bytes(result)};
    if (pyexec_result_status(result) == PYEXEC_STATUS_OK && value &&
        sscanf(value, "'%lf %lld %lld'", &ret->ms, &space, &count) == 3) {
        ret->address_space = space < 0 ? 0 : space > WIDE_SPACE ? WIDE_SPACE : space;
        ret->threads = count < 0 || count > WIDE_THREADS ? 0 : WIDE_THREADS - count;
        ret->ms = ret->ms >= 0 && ret->ms <= WIDE_SECONDS * 1000.0 ? ret->ms : 0;
        return 1;
    }
    const char *why = pyexec_result_error_repr(result);
    px_buffer_printf(reason, "%.*s", ERROR_LONGEST, why ? why : "the import ended the interpreter");
    return 0;
}

/* Imports these modules in one run. Returns 1, 0 and the reason, or -1 when no script can run. */
static int measure_modules(pyexec_executor *executor, const json_t *modules, struct figures *ret,
                           struct px_buffer *reason, pyexec_error *error)
{
    px_auto_buffer struct px_buffer code = {0};
    px_auto(free_result) pyexec_result *result = NULL;
    px_buffer_add_string(&code, before);
    for (size_t i = 0; i < json_array_size(modules); i++)
        px_buffer_printf(&code, "import %s\n", json_string_value(json_array_get(modules, i)));
    px_buffer_printf(&code, after, (long long)WIDE_SPACE, (long long)WIDE_SPACE);
    if (run(executor, &code, &result, error) < 0)
        return -1;
    return read_figures(result, ret, reason);
}

static int open_executor(const struct env_measure *measure, const json_t *preload, bool files, pyexec_executor **ret,
                         pyexec_error *error)
{
    px_auto_json json_t *config =
        json_pack("{s:{s:s, s:b, s:b, s:[], s:b, s:I, s:i, s:i, s:i, s:o}, s:o}", "policy", "python_bin",
                  measure->python, "isolate_site", 0, "use_import_whitelist", 0, "banned_imports",
                  "block_dunder_imports", 0, "address_space_bytes", (json_int_t)WIDE_SPACE, "timeout_ms",
                  WIDE_SECONDS * 1000, "cpu_time_seconds", WIDE_SECONDS, "max_threads", WIDE_THREADS, "preload_imports",
                  preload ? px_json_deep_copy(preload) : json_array(), "host",
                  measure->host ? px_json_deep_copy(measure->host) : json_object());
    json_t *host = json_object_get(config, "host");
    if (!config)
        return px_error_oom(error);
    if (files)
        px_json_set(json_object_get(config, "policy"), "disable_open", json_false());
    px_json_set(host, "zygotes", json_integer(1));
    px_json_set(host, "pool_size", json_integer(0));
    return pyexec_executor_open_object(config, ret, error);
}

/* ---- Limits ---- */

/* A script should have as much room for its own work as a script without packages has under the defaults. So a limit is the
 * default, and what all imports together need on top of an empty script. Time depends on the machine's load and on what is
 * in its caches, so it has a margin: a factor of 2 for CPU time, and of 3 for the wall clock. Where the imports leave seven
 * eighths of a default, it stays. */
static int64_t round_up(int64_t value, int64_t step)
{
    return (value + step - 1) / step * step;
}

static bool takes_much(int64_t part, int64_t whole)
{
    return part > whole / 8;
}

static json_t *make_limits(const struct figures *empty, const struct figures *all, pyexec_error *error)
{
    struct px_policy defaults = {0};
    json_t *limits = px_policy_init(&defaults, error) < 0 ? NULL : json_object();
    if (!limits)
        return NULL;
    int64_t space = all->address_space - empty->address_space, threads = all->threads - empty->threads;
    int64_t cpu_ms = (int64_t)(all->cpu_ms - empty->cpu_ms), ms = (int64_t)(all->ms - empty->ms);
    if (takes_much(space, defaults.address_space_bytes))
        px_json_set(limits, "address_space_bytes",
                    json_integer(round_up(defaults.address_space_bytes + space, 64 * MEBIBYTE)));
    if (takes_much(threads, defaults.max_threads))
        px_json_set(limits, "max_threads",
                    json_integer(defaults.max_threads + threads < 256 ? defaults.max_threads + threads : 256));
    if (takes_much(cpu_ms, defaults.cpu_time_seconds * 1000))
        px_json_set(limits, "cpu_time_seconds",
                    json_integer(round_up(defaults.cpu_time_seconds * 1000 + 2 * cpu_ms, 1000) / 1000));
    if (takes_much(ms, defaults.timeout_ms))
        px_json_set(limits, "timeout_ms", json_integer(round_up(defaults.timeout_ms + 3 * ms, 1000)));
    px_policy_done(&defaults);
    return limits;
}

/* ---- All imports ---- */

/* Modules that wheels install by mistake, and nobody means to import. */
static bool is_stray(const char *name)
{
    static const char *const names[] = {"test",      "tests",      "testing", "doc",   "docs",  "example", "examples",
                                        "benchmark", "benchmarks", "scripts", "tools", "setup", "conftest"};
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The runs of one measurement. Some packages make a file when they are imported, as in a folder for temporary files. They are tried
 * again with file access. */
struct trial {
    const struct env_measure *measure;
    pyexec_executor *plain, *files; /* files: NULL until it is needed */
    struct figures empty;
    json_t *rows, *working;
};

static void trial_done(struct trial *trial)
{
    pyexec_executor_free(trial->plain);
    pyexec_executor_free(trial->files);
    json_decref(trial->rows);
    json_decref(trial->working);
}

/* Returns 1 and the figures, 2 if it works with file access only, 0 and the reason, or -1. */
static int try_module(struct trial *trial, json_t *name, struct figures *ret, struct px_buffer *reason,
                      pyexec_error *error)
{
    px_auto_json json_t *one = json_pack("[O]", name);
    px_auto_buffer struct px_buffer second = {0};
    if (!one)
        return px_error_oom(error);
    int worked = measure_modules(trial->plain, one, ret, reason, error);
    if (worked)
        return worked;
    if (!trial->files && open_executor(trial->measure, NULL, true, &trial->files, error) < 0)
        return -1;
    worked = measure_modules(trial->files, one, ret, &second, error);
    return worked > 0 ? 2 : worked;
}

static json_t *make_row(const char *module, int worked, const struct figures *figures, const char *reason)
{
    if (!worked)
        return json_pack("{s:s, s:s}", "import", module, "error", reason);
    json_t *row = json_pack("{s:s, s:f, s:I, s:I, s:I, s:n}", "import", module, "ms", figures->ms,
                            "address_space_bytes", (json_int_t)figures->address_space, "threads",
                            (json_int_t)figures->threads, "memory_bytes", (json_int_t)figures->memory, "error");
    if (worked == 2)
        px_json_set(row, "needs_files", json_string(reason));
    return row;
}

/* Adds the rows, and to `working` the modules that can be imported. */
static int measure_each(struct trial *trial, pyexec_error *error)
{
    const json_t *imports = trial->measure->imports;
    for (size_t i = 0; i < json_array_size(imports) && i < MEASURED_MAX; i++) {
        json_t *name = json_array_get(imports, i);
        struct figures figures;
        px_auto_buffer struct px_buffer reason = {0};
        if (is_stray(json_string_value(name)))
            continue;
        int worked = try_module(trial, name, &figures, &reason, error);
        if (worked < 0)
            return -1;
        if (worked) {
            figures.threads = figures.threads - trial->empty.threads + 1;
            px_json_append(trial->working, json_incref(name));
        }
        px_json_append(trial->rows, make_row(json_string_value(name), worked, &figures, px_buffer_shown(&reason)));
    }
    return 0;
}

int env_measure_imports(const struct env_measure *measure, json_t **ret_measured, json_t **ret_limits,
                        pyexec_error *error)
{
    px_auto(trial_done) struct trial trial = {.measure = measure, .rows = json_array(), .working = json_array()};
    px_auto_json json_t *none = json_array();
    px_auto_buffer struct px_buffer reason = {0};
    struct figures all;
    if (!trial.rows || !trial.working || !none)
        return px_error_oom(error);
    if (open_executor(measure, NULL, false, &trial.plain, error) < 0)
        return -1;
    int ran = measure_modules(trial.plain, none, &trial.empty, &reason, error);
    if (ran <= 0)
        return ran < 0 ? -1
                       : px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "an empty script fails: %s",
                                      px_buffer_shown(&reason));
    if (measure_each(&trial, error) < 0)
        return -1;
    ran = measure_modules(trial.files ? trial.files : trial.plain, trial.working, &all, &reason, error);
    if (ran < 0)
        return -1;
    /* Modules that work alone and not together: then no limit is known for all. */
    *ret_limits = ran ? make_limits(&trial.empty, &all, error) : json_object();
    *ret_measured = TAKE_PTR(trial.rows);
    return *ret_limits ? 0 : -1;
}

int env_measure_preload(const struct env_measure *measure, const json_t *preload, struct env_preload_cost *ret,
                        pyexec_error *error)
{
    px_auto_json json_t *none = json_array();
    struct figures empty = {0}, loaded = {0};
    px_auto_buffer struct px_buffer reason = {0};
    px_auto(free_executor) pyexec_executor *plain = NULL, *warm = NULL;
    if (!none)
        return px_error_oom(error);
    if (open_executor(measure, NULL, false, &plain, error) < 0)
        return -1;
    int ran = measure_modules(plain, none, &empty, &reason, error);
    if (ran > 0)
        ran = measure_modules(plain, preload, &loaded, &reason, error);
    if (ran < 0)
        return -1;
    if (ran == 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the modules to preload can't be imported: %s",
                     px_buffer_shown(&reason));
        return px_error_hint(error, "Name modules of the environment's packages, as a script imports them.");
    }
    *ret = (struct env_preload_cost){loaded.memory - empty.memory, loaded.ms};
    px_buffer_done(&reason);
    if (open_executor(measure, preload, false, &warm, error) < 0)
        return -1;
    ran = measure_modules(warm, none, &loaded, &reason, error);
    return ran ? ran < 0 ? -1 : 0 : px_error_set(error, PYEXEC_INVALID_POLICY, "preload: %s", px_buffer_shown(&reason));
}
