/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out what this machine offers. Every layer is tried: a sandbox is started in which all layers are optional,
 * and for each layer there is an attempt to escape from inside. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/utf8.h"
#include "executor/runtime.h"
#include "executor/version.h"
#include "policy/config.h"
#include "policy/secrets.h"
#include "result/result.h"
#include "runner/interpreter.h"
#include "runner/proxy.h"

struct doctor {
    json_t *report;
    json_t *policy, *host, *egress;  /* the caller's, or NULL */
    const pyexec_executor *executor; /* whose settings count, or NULL */
    px_layers missing;
    px_layers untried; /* the launcher or the interpreter did not start */
    int landlock_abi;
    char cgroup[512]; /* the cgroup's folder, or why there is none */
    bool python_ok;
};

/* Attempts to escape, which run with the import whitelist off. Each prints "held", or what it got. If the sandbox
 * ends the run, the layer held too. PID is a process of the host, NAME the host's name. */
static const struct {
    enum px_layer layer;
    const char *attempt;
    const char *code;
} attempts[] = {
    {PX_LAYER_USER_NAMESPACE, "become root of the host",
     "libc.setresuid(0, 0, 0)\nprint('held' if os.getuid() else 'uid 0')"},
    /* In a container doctor may be process 1, as the script is in its own namespace. */
    {PX_LAYER_PID_NAMESPACE, "signal a process of the host",
     "print('held' if PID == os.getpid() == 1 or libc.kill(PID, 0) else 'it answers')"},
    {PX_LAYER_MOUNT_NAMESPACE, "open /etc/passwd by the C library",
     "print('held' if libc.open(b'/etc/passwd', 0) < 0 else 'opened')"},
    {PX_LAYER_NETWORK_NAMESPACE, "open a TCP socket by the C library",
     "print('held' if libc.socket(2, 1, 0) < 0 else 'a socket')"},
    {PX_LAYER_IPC_NAMESPACE, "make a SysV shared memory segment",
     "print('held' if libc.shmget(0x7078, 4096, 0o1600) < 0 else 'a segment')"},
    {PX_LAYER_UTS_NAMESPACE, "read the host's name",
     "b = ctypes.create_string_buffer(256)\nlibc.gethostname(b, 256)\n"
     "print('held' if b.value != NAME else 'the name')"},
    {PX_LAYER_PRIVILEGES, "hold a capability",
     "h = (ctypes.c_uint32 * 2)(0x20080522, 0)\nd = (ctypes.c_uint32 * 6)()\nlibc.capget(h, d)\n"
     "print('held' if not any(d) else 'capabilities')"},
    {PX_LAYER_LANDLOCK, "make a file at the root by the C library",
     "print('held' if libc.open(b'/pyexec-doctor', 0o102, 0o600) < 0 else 'made')"},
    {PX_LAYER_SECCOMP, "trace itself (ptrace)", "libc.ptrace(0, 0, 0, 0)\nprint('not stopped')"},
    {PX_LAYER_RLIMITS, "map 64 GiB of memory",
     "libc.mmap.restype = ctypes.c_void_p\n"
     "p = libc.mmap(None, ctypes.c_size_t(1 << 36), 3, 0x22, -1, ctypes.c_long(0))\n"
     "print('held' if p == ctypes.c_void_p(-1).value else 'mapped')"},
};

static int attempt_one(pyexec_executor *executor, size_t i, json_t *list, pyexec_error *error)
{
    struct utsname host;
    uname(&host);
    struct px_buffer px_auto_buffer code = {0};
    px_buffer_printf(&code, "import ctypes, os\nlibc = ctypes.CDLL(None)\nPID = %ld\nNAME = b'%s'\n", (long)getpid(),
                     host.nodename);
    px_buffer_add_string(&code, attempts[i].code);
    pyexec_request *request = pyexec_request_new();
    pyexec_result *result = NULL;
    if (!request || pyexec_request_set_code(request, code.data, code.length) < 0) {
        int saved = errno;
        pyexec_request_free(request);
        return px_error_exhausted(error, saved, "can't make the request");
    }
    int failed = pyexec_execute_once(executor, request, &result, error);
    pyexec_request_free(request);
    if (failed < 0)
        return -1;
    const char *output = pyexec_result_stdout(result, NULL);
    bool finished = pyexec_result_status(result) == PYEXEC_STATUS_OK;
    bool held = strcmp(output, "held\n") == 0 ||
                (attempts[i].layer == PX_LAYER_SECCOMP && !finished && pyexec_result_exit_code(result) == 159);
    char detail[512];
    snprintf(detail, sizeof detail, "%s%s%.300s", pyexec_status_name(pyexec_result_status(result)),
             finished ? ": " : ", ",
             finished                           ? output
             : pyexec_result_error_repr(result) ? pyexec_result_error_repr(result)
                                                : "");
    detail[strcspn(detail, "\n")] = '\0';
    px_json_append(list, json_pack("{s:s, s:s, s:b, s:s}", "layer", px_layer_info(attempts[i].layer)->name, "attempt",
                                   attempts[i].attempt, "held", held, "detail", detail));
    pyexec_result_free(result);
    return 0;
}

static int selftest(struct doctor *doctor, bool *ret_held, pyexec_error *error)
{
    json_t *policy = doctor->policy ? px_json_copy(doctor->policy) : json_object();
    json_t *list = json_array();
    px_json_set(policy, "use_import_whitelist", json_false());
    px_json_set(policy, "banned_imports", json_array());
    px_auto_json json_t *config = json_pack("{s:o}", "policy", policy);
    if (config && doctor->host)
        px_json_set(config, "host", json_incref(doctor->host));
    pyexec_executor *executor = NULL;
    int result = json_is_object(config) && json_is_object(policy)
                     ? pyexec_executor_open_object(config, &executor, error)
                     : px_error_oom(error);
    for (size_t i = 0; result == 0 && i < PX_COUNT(attempts); i++)
        if (!(doctor->missing & PX_LAYER_BIT(attempts[i].layer)))
            result = attempt_one(executor, i, list, error);
    pyexec_executor_free(executor);
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
        *ret_held = *ret_held && json_is_true(json_object_get(item, "held"));
    px_json_set(doctor->report, "selftest", list);
    return result;
}

static void report_layers(struct doctor *doctor, const char *why)
{
    json_t *layers = json_array();
    for (enum px_layer layer = 0; layer < PX_LAYER_COUNT; layer++) {
        const struct px_layer_info *info = px_layer_info(layer);
        bool missing = doctor->missing & PX_LAYER_BIT(layer);
        bool untried = !missing && doctor->untried & PX_LAYER_BIT(layer);
        bool present = !missing && !untried;
        px_json_append(layers, json_pack("{s:s, s:b, s:b, s:s, s:o, s:o}", "name", info->name, "required",
                                         info->required, "present", present, "gives", info->gives, "why",
                                         untried                    ? json_string("not tried: python did not start")
                                         : present                  ? json_null()
                                         : layer == PX_LAYER_CGROUP ? json_string(doctor->cgroup)
                                         : info->required           ? json_string(why)
                                                                    : json_null(),
                                         "remedy", missing ? json_string(info->remedy) : json_null()));
    }
    px_json_set(doctor->report, "layers", layers);
}

/* Finds what scripts can read because of a .pth file or an editable install. */
static void report_importable(json_t *facts, const struct px_zygote_ready *ready)
{
    struct px_buffer px_auto_buffer text = {0};
    json_t *paths = json_array();
    for (size_t at = 0; at < ready->importable_bytes; at += strlen(ready->importable + at) + 1) {
        text.length = 0;
        px_utf8_repair(&text, ready->importable + at, strlen(ready->importable + at));
        px_json_append(paths, json_string(px_buffer_string(&text)));
    }
    px_json_set(facts, "importable", paths);
    px_json_set(facts, "importable_more", json_integer(ready->importable_more));
}

/* Starts a launcher and a zygote with every layer optional, to see which layers work. */
static int try_layers(struct doctor *doctor, const struct px_policy *policy, const struct px_host *host,
                      const char *python, pyexec_error *error)
{
    struct px_launcher_options ids;
    struct px_launcher *launcher = NULL;
    struct px_zygotes *zygotes = NULL;
    struct px_counters unused = {0};
    px_layers all = ((px_layers)1 << PX_LAYER_COUNT) - 1;
    int result = px_runtime_ids(host, python, all, &ids, error);
    if (result == 0)
        result = px_launcher_new(&ids, &launcher, error);
    doctor->untried = all;
    if (result == 0) {
        const char *text;
        doctor->missing = px_launcher_missing(launcher);
        if (!px_launcher_cgroup(launcher, &text))
            doctor->missing |= PX_LAYER_BIT(PX_LAYER_CGROUP);
        snprintf(doctor->cgroup, sizeof doctor->cgroup, "%s", text);
        doctor->untried &= ~(px_layers)(PX_LAYER_BIT(PX_LAYER_USER_NAMESPACE) | PX_LAYER_BIT(PX_LAYER_PID_NAMESPACE) |
                                        PX_LAYER_BIT(PX_LAYER_MOUNT_NAMESPACE));
        result = px_zygotes_new(launcher, policy, python, 1, all, &ids, NULL, &unused, &zygotes, error);
    }
    if (result == 0)
        result = px_zygotes_start(zygotes, error);
    json_t *facts = json_object_get(doctor->report, "python");
    if (result == 0) {
        const struct px_zygote_ready *ready = px_zygotes_ready(zygotes);
        doctor->missing |= px_zygotes_missing(zygotes);
        doctor->landlock_abi = ready->landlock_abi;
        doctor->python_ok = true;
        doctor->untried = 0;
        px_json_set(facts, "version", json_string(ready->python_text));
        px_json_set(facts, "mapped_bytes", json_integer((json_int_t)ready->mapped_bytes));
        report_importable(facts, ready);
    }
    px_zygotes_free(zygotes);
    px_launcher_free(launcher);
    return result;
}

static int start_proxy(const struct px_egress_config *config, const struct px_secret_sources *secrets,
                       const struct px_launcher_options *ids, pyexec_error *error)
{
    const struct px_proxy_options options = {
        .config = config, .secrets = secrets, .run_uid = ids->run_uid, .uid_count = ids->run_uid_count};
    struct px_proxy *proxy = px_proxy_new(&options);
    int result = proxy ? px_proxy_start(proxy, error) : px_error_oom(error);
    if (result == 0 && px_proxy_certificates(proxy, error) < 0)
        result = -1;
    px_proxy_free(proxy);
    return result;
}

/* With the settings of the caller. */
static int configure_proxy(json_t *egress, const struct px_launcher_options *ids, pyexec_error *error)
{
    struct px_egress_config config = {0};
    struct px_secret_sources secrets = {0};
    int result = px_egress_config_init(&config, error);
    if (result == 0 && egress)
        result = px_egress_config_merge_json(&config, egress, error);
    if (result == 0 && config.secrets)
        result = px_secret_sources_read(config.secrets, &secrets, error);
    if (result == 0)
        result = px_secret_sources_take_environment(&secrets, error);
    if (result == 0)
        result = start_proxy(&config, &secrets, ids, error);
    px_secret_sources_done(&secrets);
    px_egress_config_done(&config);
    return result;
}

/* Says whether runs with allowed_hosts work: they need a network namespace, and the proxy, which is started with the settings of [egress]. */
static void try_proxy(const struct doctor *doctor, const struct px_host *host, const char *python, char *text,
                      size_t size)
{
    struct px_launcher_options ids;
    pyexec_error error = {0};
    const pyexec_executor *executor = doctor->executor;
    int result = px_runtime_ids(host, python, doctor->missing, &ids, &error);
    if (doctor->missing & PX_LAYER_BIT(PX_LAYER_NETWORK_NAMESPACE))
        result = px_error_set(&error, PYEXEC_SANDBOX_UNAVAILABLE, "the layer network_namespace is missing");
    if (result == 0)
        result = executor ? start_proxy(&executor->egress_config, &executor->secrets, &ids, &error)
                          : configure_proxy(doctor->egress, &ids, &error);
    snprintf(text, size, "%s%.700s", result == 0 ? "works" : "does not work: ", error.message);
}

static bool is_filtered(void)
{
    char text[4096];
    return px_read_small_file(AT_FDCWD, "/proc/self/status", text, sizeof text) > 0 && strstr(text, "\nSeccomp:\t2");
}

static const char *read_why(char *buffer, size_t size)
{
    char text[16] = "";
    if (px_read_small_file(AT_FDCWD, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", text, sizeof text) > 0 &&
        text[0] == '1')
        snprintf(buffer, size,
                 "AppArmor restricts unprivileged user namespaces "
                 "(kernel.apparmor_restrict_unprivileged_userns=1)");
    else if (px_read_small_file(AT_FDCWD, "/proc/sys/user/max_user_namespaces", text, sizeof text) > 0 &&
             atoi(text) == 0)
        snprintf(buffer, size, "user namespaces are switched off (user.max_user_namespaces=0)");
    else if (px_read_small_file(AT_FDCWD, "/proc/sys/kernel/unprivileged_userns_clone", text, sizeof text) > 0 &&
             text[0] == '0')
        snprintf(buffer, size,
                 "user namespaces are switched off "
                 "(kernel.unprivileged_userns_clone=0)");
    else if (is_filtered())
        snprintf(buffer, size,
                 "the kernel refuses it, or the seccomp profile of the container or "
                 "service manager under which this process runs");
    else
        snprintf(buffer, size, "the kernel or a security module refuses it");
    return buffer;
}

static int examine(struct doctor *doctor, const struct px_policy *policy, const struct px_host *host,
                   bool with_selftest, pyexec_error *error)
{
    char python[PX_PATH_MAX] = "", why[256], by_name[768] = "not tried: python did not start";
    struct utsname name;
    pyexec_error problem = {0};
    uname(&name);
    json_t *limits = px_policy_to_json(policy);
    px_json_merge(doctor->report,
                  json_pack("{s:s, s:s, s:{s:I, s:b}, s:{s:n, s:n}, s:o, s:[]}", "version", PX_VERSION, "kernel",
                            name.release, "user", "uid", (json_int_t)geteuid(), "root", geteuid() == 0, "python",
                            "version", "error", "limits", limits, "selftest"));
    json_t *facts = json_object_get(doctor->report, "python");
    int tried = px_python_resolve(px_policy_python(policy), python, sizeof python, &problem);
    if (tried == 0)
        tried = try_layers(doctor, policy, host, python, &problem);
    px_json_set(facts, "path", json_string(python[0] ? python : px_policy_python(policy)));
    px_json_set(facts, "ok", json_boolean(doctor->python_ok));
    if (tried < 0)
        px_json_set(facts, "error",
                    json_pack("{s:s, s:s, s:s}", "code", pyexec_code_name(problem.code), "message", problem.message,
                              "hint", problem.hint));
    report_layers(doctor, read_why(why, sizeof why));
    if (doctor->python_ok)
        try_proxy(doctor, host, python, by_name, sizeof by_name);
    px_json_set(doctor->report, "details",
                json_pack("{s:i, s:s, s:s, s:I}", "landlock_abi", doctor->landlock_abi, "cgroup", doctor->cgroup,
                          "network_by_name", by_name, "zygote_memory_bytes", (json_int_t)px_kinds_memory_max(host)));
    px_layers needed = px_layers_required() & ~px_runtime_allowed(host);
    bool ok = tried == 0 && !(doctor->missing & needed), held = true;
    int result = ok && with_selftest ? selftest(doctor, &held, error) : 0;
    px_json_set(doctor->report, "ok", json_boolean(ok && held));
    return result;
}

int pyexec_doctor(const char *policy_json, const char *host_json, bool with_selftest, char **ret, pyexec_error *error)
{
    px_auto_json json_t *policy = NULL;
    px_auto_json json_t *host = NULL;
    json_t *report;
    if (px_runtime_load_json(policy_json, "policy", &policy, error) < 0 ||
        px_runtime_load_json(host_json, "host", &host, error) < 0 ||
        pyexec_doctor_object(policy, host, NULL, with_selftest, &report, error) < 0)
        return -1;
    char *text = px_json_take_text(report);
    if (!text)
        return px_error_oom(error);
    *ret = text;
    return 0;
}

int pyexec_executor_doctor_json(pyexec_executor *executor, char **ret, pyexec_error *error)
{
    struct doctor doctor = {.report = json_object(), .executor = executor};
    int result = examine(&doctor, &executor->policy, &executor->host, false, error);
    if (result < 0) {
        json_decref(doctor.report);
        return -1;
    }
    *ret = px_json_take_text(doctor.report);
    return *ret ? 0 : px_error_oom(error);
}

/* In the default folder of environments. */
static int find_environment(struct px_policy *policy, pyexec_error *error)
{
    struct px_environments *store = NULL;
    if (px_environments_new(NULL, &store, error) < 0)
        return -1;
    int result = px_policy_find_environment(policy, store, error);
    px_environments_free(store);
    return result;
}

int pyexec_doctor_object(json_t *policy_object, json_t *host_object, json_t *egress_object, bool with_selftest,
                         json_t **ret, pyexec_error *error)
{
    struct doctor doctor = {
        .report = json_object(), .policy = policy_object, .host = host_object, .egress = egress_object};
    struct px_policy policy = {0};
    struct px_host host = {0};
    int result = px_policy_init(&policy, error);
    if (result == 0)
        result = px_host_init(&host, error);
    if (result == 0 && policy_object)
        result = px_policy_merge_json(&policy, policy_object, PX_ORIGIN_FLAG, error);
    if (result == 0 && host_object)
        result = px_host_merge_json(&host, host_object, error);
    if (result == 0)
        result = px_policy_check(&policy, error);
    if (result == 0 && *policy.environment)
        result = find_environment(&policy, error);
    if (result == 0)
        result = examine(&doctor, &policy, &host, with_selftest, error);
    if (result == 0 && !json_is_object(doctor.report))
        result = px_error_oom(error);
    if (result == 0)
        *ret = TAKE_PTR(doctor.report);
    json_decref(doctor.report);
    px_policy_done(&policy);
    px_host_done(&host);
    return result;
}
