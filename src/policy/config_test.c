/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files, the environment, and the sample file that is generated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "policy/config.h"

struct fixture {
    struct px_policy policy;
    struct px_host host;
    struct px_session_config session;
    struct px_serve_config serve;
    struct px_mcp_config mcp;
    struct px_telemetry_config telemetry;
    struct px_cli_config cli;
    struct px_env_config env;
    struct px_egress_config egress;
    struct px_nats_config nats;
    struct px_config all;
    pyexec_error error;
};

static int setup(void **state)
{
    static struct fixture f;
    *state = &f;
    f.all = (struct px_config){&f.policy,    &f.host, &f.session, &f.serve,  &f.mcp,
                               &f.telemetry, &f.cli,  &f.env,     &f.egress, &f.nats};
    return px_policy_init(&f.policy, &f.error) | px_host_init(&f.host, &f.error) |
           px_session_config_init(&f.session, &f.error) | px_serve_config_init(&f.serve, &f.error) |
           px_mcp_config_init(&f.mcp, &f.error) | px_telemetry_config_init(&f.telemetry, &f.error) |
           px_cli_config_init(&f.cli, &f.error) | px_env_config_init(&f.env, &f.error) |
           px_egress_config_init(&f.egress, &f.error) | px_nats_config_init(&f.nats, &f.error);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    px_policy_done(&f->policy);
    px_cli_config_done(&f->cli);
    px_env_config_done(&f->env);
    px_egress_config_done(&f->egress);
    px_nats_config_done(&f->nats);
    px_host_done(&f->host);
    px_session_config_done(&f->session);
    px_serve_config_done(&f->serve);
    px_mcp_config_done(&f->mcp);
    px_telemetry_config_done(&f->telemetry);
    return 0;
}

static int parse(struct fixture *f, const char *text)
{
    return px_config_parse(text, strlen(text), "test.conf", &f->all, &f->error);
}

static void test_good_file(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "# comment\n; comment\n\n"
                              "[policy]\n"
                              "timeout = 9s\r\n"
                              "  cpu-time-seconds=none\n"
                              "\tallowed_imports =\n"
                              "python_bin = /opt/my python/bin/python3\n"
                              "[host]\nzygotes = 3\npool_idle = 10s\nallow_missing = cgroup\n"
                              "uid_range = 100000:65536\n"
                              "[session]\nenabled = false\nmax_count = 0\nidle_ttl = none\nhard_ttl = 2h\n"
                              "workspace_root = /srv/work\nadopt_workspace = true\n"
                              "[serve]\nlisten = unix:/run/a.sock, [::1]:8000\ntoken_file = /etc/pyexec/tokens\n"
                              "[env]\nroot = /srv/env\nallow_requests = numpy, ruamel.yaml\n"
                              "[egress]\nallow_private = 10.1.0.0/16, fd00::/8\nca_file = /etc/ca.pem\n"
                              "idle_timeout = 1m\nsecrets = /etc/pyexec/secrets.json\n"
                              "[policy]\nmax_threads = 4"),
                     0);
    assert_string_equal(f->env.root, "/srv/env");
    assert_string_equal(f->env.uv, "uv");
    assert_int_equal(f->egress.allow_private.count, 2);
    assert_string_equal(f->egress.ca_file, "/etc/ca.pem");
    assert_string_equal(f->egress.secrets, "/etc/pyexec/secrets.json");
    assert_null(f->egress.upstream);
    assert_int_equal(f->egress.idle_timeout_ms, 60000);
    assert_int_equal(f->env.allow_requests.count, 2);
    assert_string_equal(f->env.allow_requests.items[1], "ruamel.yaml");
    assert_int_equal(f->policy.timeout_ms, 9000);
    assert_int_equal(f->policy.origin[PX_FIELD_timeout_ms], PX_ORIGIN_FILE);
    assert_true(f->policy.cpu_time_seconds == PX_NONE);
    assert_int_equal(f->policy.allowed_imports.count, 0);
    assert_string_equal(f->policy.python_bin, "/opt/my python/bin/python3");
    assert_int_equal(f->policy.max_threads, 4);
    assert_int_equal(f->host.zygotes, 3);
    assert_int_equal(f->host.pool_idle_ms, 10000);
    assert_true(px_strings_has(&f->host.allow_missing, "cgroup"));
    assert_string_equal(f->host.uid_range, "100000:65536");
    assert_false(f->session.enabled);
    assert_int_equal(f->session.max_count, 0);
    assert_true(f->session.idle_ttl_ms == PX_NONE);
    assert_int_equal(f->session.hard_ttl_ms, 7200000);
    assert_string_equal(f->session.workspace_root, "/srv/work");
    assert_true(f->session.adopt_workspace);
    assert_int_equal(px_session_config_check(&f->session, &f->error), 0);
    assert_int_equal(f->serve.listen.count, 2);
    assert_string_equal(f->serve.token_file, "/etc/pyexec/tokens");
}

static void test_bad_files(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *message, *hint;
    } rows[] = {
        {"timeout = 5s", "'test.conf' line 1: no section before 'timeout = 5s'", "Put [policy]"},
        {"\n[polcy]", "'test.conf' line 2: unknown section '[polcy]'", "The sections are"},
        {"[policy", "'test.conf' line 1: unknown section '[policy'", ""},
        {"[", "'test.conf' line 1: unknown section '['", ""},
        {"[]", "'test.conf' line 1: unknown section '[]'", ""},
        {"[policy] x", "unknown section", ""},
        {"[policy]\ntimeout", "line 2: not a line of a configuration: 'timeout'", "KEY = VALUE"},
        {"[policy]\n= 5s", "line 2: not a line", ""},
        {"[policy]\n  = 5s", "line 2: not a line", ""},
        {"[policy]\ntimout = 5s", "line 2: policy has no key 'timout'", "Did you mean timeout?"},
        {"[policy]\nzygotes = 5", "line 2: policy has no key 'zygotes'", ""},
        {"[host]\nzygots = 5", "line 2: host has no key 'zygots'", "Did you mean zygotes?"},
        {"[session]\nidle_tl = 5s", "line 2: session has no key", "Did you mean idle_ttl?"},
        {"[serve]\nlistn = a:1", "line 2: serve has no key", "Did you mean listen?"},
        {"[policy]\ntimeout = 5s\n\ntimeout-ms = 6s", "line 4: timeout-ms is set again, after line 2", "Remove"},
        {"[policy]\ntimeout = 5s # five", "line 2: timeout: a comment after the value '5s # five'", "own"},
        {"[policy]\ntimeout = ;", "a comment after the value", ""},
        {"[policy]\npython_bin = \"python3\"", "quotes around '\"python3\"'", "without quotes"},
        {"[policy]\ntimeout =", "line 2: timeout_ms can't be ''", ""},
        {"[policy]\nmax_threads = 4.0", "line 2: max_threads can't be '4.0'", ""},
        {"[policy]\na\xFF = 1", "line 2: not UTF-8 text", "UTF-8"},
        {"[egress]\nallow_private = 10.1.2.3/8", "allow_private can't be '10.1.2.3/8'; accepted is networks such as",
         "All bits after the length must be 0"},
        {"[egress]\nallow_private = fd00::/8, a.example", "allow_private can't be 'a.example'", ""},
        {"[session]\nworkspace_root = work", "workspace_root can't be 'work'; accepted is an absolute path", ""},
    };
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        assert_int_equal(parse(f, rows[i].text), -1);
        assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
        if (!strstr(f->error.message, rows[i].message) || !strstr(f->error.hint, rows[i].hint))
            fail_msg("%s\n%s\n%s", rows[i].text, f->error.message, f->error.hint);
    }
    assert_int_equal(px_config_parse("[policy]\0", 9, "x", &f->all, &f->error), -1);
    assert_int_equal(px_config_parse("", 0, "x", &f->all, &f->error), 0);
}

static void test_long_line(void **state)
{
    struct fixture *f = *state;
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_add_string(&text, "[policy]\n#");
    for (int i = 0; i < 20000; i++)
        px_buffer_add_byte(&text, 'x');
    assert_int_equal(parse(f, text.data), -1);
    assert_non_null(strstr(f->error.message, "line 2: the line is longer than"));
}

/* The proxy has room for 64 networks. */
static void test_too_many_networks(void **state)
{
    struct fixture *f = *state;
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_add_string(&text, "[egress]\nallow_private = 10.0.0.0");
    for (int i = 1; i < 64; i++)
        px_buffer_printf(&text, ", 10.0.0.%d", i);
    assert_int_equal(parse(f, px_buffer_string(&text)), 0);
    assert_int_equal(f->egress.allow_private.count, 64);
    px_buffer_add_string(&text, ", 10.0.0.64");
    assert_int_equal(parse(f, px_buffer_string(&text)), -1);
    assert_non_null(strstr(f->error.message, "allow_private has more than 64 items"));
}

/* Sections that the caller does not want are also checked. */
static void test_unwanted_sections(void **state)
{
    struct fixture *f = *state;
    const struct px_config none = {0};
    const char good[] = "[session]\nmax_count = 3\n[serve]\nlisten = a:1\n[policy]\ntimeout = 1s\n";
    const char bad[] = "[session]\nmax_count = three\n";
    assert_int_equal(px_config_parse(good, strlen(good), "x", &none, &f->error), 0);
    assert_int_equal(px_config_parse(bad, strlen(bad), "x", &none, &f->error), -1);
    assert_int_equal(f->policy.timeout_ms, 5000);
}

static void test_environment(void **state)
{
    struct fixture *f = *state;
    char *good[] = {(char[]){"PATH=/bin"},
                    (char[]){"PYEXEC_POLICY_TIMEOUT=8s"},
                    (char[]){"PYEXEC_HOST_ZYGOTES=1"},
                    (char[]){"PYEXEC_SESSION_MAX_COUNT=2"},
                    (char[]){"PYEXEC_POLICY_ALLOWED_IMPORTS="},
                    (char[]){"PYEXEC_OTHER=1"},
                    (char[]){"PYEXEC_POLICY=1"},
                    (char[]){"PYEXEC_"},
                    (char[]){"PYEXEC_SERVE_TOKEN_FILE=/t"},
                    NULL};
    assert_int_equal(px_config_environment(good, &f->all, &f->error), 0);
    assert_int_equal(f->policy.timeout_ms, 8000);
    assert_int_equal(f->policy.origin[PX_FIELD_timeout_ms], PX_ORIGIN_ENVIRONMENT);
    assert_int_equal(f->policy.allowed_imports.count, 0);
    assert_int_equal(f->host.zygotes, 1);
    assert_int_equal(f->session.max_count, 2);
    assert_string_equal(f->serve.token_file, "/t");
    assert_int_equal(px_config_environment(NULL, &f->all, &f->error), 0);

    static const struct {
        const char *variable, *message;
    } bad[] = {
        {"PYEXEC_POLICY_TIMOUT=5s", "environment variable 'PYEXEC_POLICY_TIMOUT': policy has no key 'timout'"},
        {"PYEXEC_POLICY_TIMEOUT=x", "environment variable 'PYEXEC_POLICY_TIMEOUT': timeout_ms can't be 'x'"},
        {"PYEXEC_HOST_=1", "host has no key ''"},
        {"PYEXEC_HOST_ZYGOTES", "no such variable: 'PYEXEC_HOST_ZYGOTES'"},
        {"PYEXEC_HOST_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=1",
         "no such variable"},
    };
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        px_auto_free char *copy = strdup(bad[i].variable);
        char *environment[] = {copy, NULL};
        assert_int_equal(px_config_environment(environment, &f->all, &f->error), -1);
        assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
        assert_non_null(strstr(f->error.message, bad[i].message));
    }
}

static void write_file(char *path, const char *text)
{
    px_auto_fd int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(px_write_all(fd, text, strlen(text)), 0);
}

static void test_load(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/pyexec-config-XXXXXX";
    write_file(path, "[policy]\ntimeout = 3s\nmax_threads = 2\n[session]\nmax_count = 9\n");
    assert_int_equal(setenv("PYEXEC_POLICY_TIMEOUT", "4s", 1), 0);
    int status = px_config_load(path, &f->policy, &f->host, &f->error);
    unsetenv("PYEXEC_POLICY_TIMEOUT");
    assert_int_equal(status, 0);
    assert_int_equal(f->policy.timeout_ms, 4000); /* the environment is stronger */
    assert_int_equal(f->policy.max_threads, 2);
    assert_int_equal(f->session.max_count, 50);
    assert_int_equal(px_config_load_into(path, &f->all, &f->error), 0);
    assert_int_equal(f->session.max_count, 9);
    unlink(path);
    assert_int_equal(px_config_load(path, &f->policy, &f->host, &f->error), -1);
    assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
    assert_int_equal(f->error.sys_errno, ENOENT);
    assert_int_equal(px_config_load("/", &f->policy, &f->host, &f->error), -1);
    assert_int_equal(px_config_load("/dev/zero", &f->policy, &f->host, &f->error), -1);
    assert_int_equal(f->error.sys_errno, EFBIG);
}

static void test_load_contradiction(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/pyexec-config-XXXXXX";
    write_file(path, "[session]\nadopt_workspace = true\n");
    assert_int_equal(px_config_load(path, &f->policy, &f->host, &f->error), -1);
    assert_non_null(strstr(f->error.message, "adopt_workspace"));
    unlink(path);
}

/* Sessions and host in JSON, as pyexec rpc gets them. */
static void test_json(void **state)
{
    struct fixture *f = *state;
    json_t *session = json_loads("{\"idle_ttl\": 500, \"hard_ttl\": null, \"max_count\": 0}", 0, NULL);
    json_t *host = json_loads("{\"pool_idle\": \"1m\", \"allow_missing\": [\"cgroup\"]}", 0, NULL);
    json_t *bad = json_loads("{\"pool_idle_ms\": 5}", 0, NULL);
    assert_int_equal(px_session_config_merge_json(&f->session, session, &f->error), 0);
    assert_int_equal(px_host_merge_json(&f->host, host, &f->error), 0);
    assert_int_equal(px_host_merge_json(&f->host, bad, &f->error), -1);
    assert_non_null(strstr(f->error.hint, "Did you mean pool_idle?"));
    json_decref(session);
    json_decref(host);
    json_decref(bad);
    assert_int_equal(f->session.idle_ttl_ms, 500);
    assert_true(f->session.hard_ttl_ms == PX_NONE);
    assert_int_equal(f->host.pool_idle_ms, 60000);

    struct px_host other;
    json_t *object = px_host_to_json(&f->host);
    assert_int_equal(px_host_init(&other, &f->error), 0);
    assert_int_equal(px_host_merge_json(&other, object, &f->error), 0);
    json_t *again = px_host_to_json(&other);
    assert_true(json_equal(object, again));
    json_decref(object);
    json_decref(again);
    px_host_done(&other);
    object = px_session_config_to_json(&f->session);
    assert_int_equal(px_session_config_merge_json(&f->session, object, &f->error), 0);
    assert_int_equal(json_object_size(object), 6);
    json_decref(object);
}

/* The sample as it is sets nothing. With every key uncommented it sets the defaults. */
static void test_describe(void **state)
{
    struct fixture *f = *state;
    px_auto_buffer struct px_buffer sample = {0};
    px_config_describe(&sample);
    assert_true(px_buffer_ok(&sample));
    assert_int_equal(parse(f, sample.data), 0);
    for (size_t i = 0; i < PX_FIELD_COUNT; i++)
        assert_int_equal(f->policy.origin[i], PX_ORIGIN_DEFAULT);
    json_t *policy = px_policy_to_json(&f->policy), *host = px_host_to_json(&f->host);

    px_auto_buffer struct px_buffer active = {0};
    for (const char *line = sample.data; *line; line += strcspn(line, "\n") + 1) {
        size_t length = strcspn(line, "\n") + 1;
        bool key = line[0] == '#' && line[1] != ' ';
        px_buffer_add(&active, line + key, length - key);
    }
    assert_int_equal(parse(f, active.data), 0);
    for (size_t i = 0; i < PX_FIELD_COUNT; i++)
        assert_int_equal(f->policy.origin[i], PX_ORIGIN_FILE);
    json_t *policy_after = px_policy_to_json(&f->policy);
    json_t *host_after = px_host_to_json(&f->host);
    assert_true(json_equal(policy, policy_after));
    assert_true(json_equal(host, host_after));
    json_decref(policy);
    json_decref(host);
    json_decref(policy_after);
    json_decref(host_after);
}

#define WITH_CONFIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void variables_of_opentelemetry_are_taken_and_bad_ones_ignored(void **state)
{
    struct fixture *f = *state;
    static char *const environment[] = {(char *)"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318",
                                        (char *)"OTEL_BSP_SCHEDULE_DELAY=250",
                                        (char *)"OTEL_BSP_MAX_QUEUE_SIZE=many",
                                        (char *)"OTEL_SERVICE_NAME=",
                                        (char *)"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=7",
                                        (char *)"OTEL_EXPORTER_OTLP_TIMEOUT=9",
                                        (char *)"OTEL_EXPORTER_OTLP_HEADERS=a=b,c=d%20e",
                                        (char *)"PYEXEC_TELEMETRY_SERVICE_NAME=own",
                                        (char *)"OTEL_SERVICE_NAMES=other",
                                        NULL};
    assert_int_equal(px_config_environment(environment, &f->all, &f->error), 0);
    assert_string_equal(f->telemetry.endpoint, "http://collector:4318");
    assert_int_equal(f->telemetry.schedule_delay_ms, 250);
    assert_int_equal(f->telemetry.timeout_ms, 7);
    assert_int_equal(f->telemetry.max_queue_size, 2048);
    assert_int_equal(f->telemetry.headers.count, 2);
    assert_string_equal(f->telemetry.service_name, "own");
    assert_non_null(strstr(f->telemetry.ignored, "OTEL_BSP_MAX_QUEUE_SIZE is ignored"));
    assert_false(f->telemetry.disabled);
    static char *const off[] = {(char *)"OTEL_TRACES_EXPORTER=none", NULL};
    assert_int_equal(px_config_environment(off, &f->all, &f->error), 0);
    assert_true(f->telemetry.disabled);
    static char *const bad[] = {(char *)"PYEXEC_TELEMETRY_MAX_QUEUE_SIZE=many", NULL};
    assert_int_equal(px_config_environment(bad, &f->all, &f->error), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CONFIG(test_good_file),
        WITH_CONFIG(test_bad_files),
        WITH_CONFIG(test_long_line),
        WITH_CONFIG(test_unwanted_sections),
        WITH_CONFIG(test_too_many_networks),
        WITH_CONFIG(test_environment),
        WITH_CONFIG(test_load),
        WITH_CONFIG(test_json),
        WITH_CONFIG(test_load_contradiction),
        WITH_CONFIG(test_describe),
        WITH_CONFIG(variables_of_opentelemetry_are_taken_and_bad_ones_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
