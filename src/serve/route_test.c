/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/config.h"
#include "serve/route.h"
#include "serve/server.h"

/* A table of its own, in the place of api.c's. */
const struct px_route px_routes[] = {
    {"GET", "/v1/sessions", .name = "list"},
    {"POST", "/v1/sessions", .name = "create"},
    {"GET", "/v1/sessions/{id}", .name = "show"},
    {"DELETE", "/v1/sessions/{id}", .name = "close"},
    {"POST", "/v1/sessions/{id}/execute", .name = "execute"},
    {"GET", "/v1/sessions/{id}/files/{path}", .name = "file"},
    {"GET", "/", .name = "page"},
    {"POST", "/execute", .name = "dialect", .dialects = PX_E2B},
};
const size_t px_route_count = PX_COUNT(px_routes);

static struct px_server server;

struct asked {
    struct px_http_request request;
    char path[128], allowed[64];
    int status;
};

static void ask(struct asked *asked, const char *method, const char *path)
{
    memset(asked, 0, sizeof *asked);
    strcpy(asked->request.method, method);
    strcpy(asked->path, path);
    asked->request.path = asked->path;
    asked->request.server = &server;
    asked->status = px_route_find(&asked->request, asked->allowed, sizeof asked->allowed);
}

static void done(struct asked *asked)
{
    free(asked->request.session);
    free(asked->request.session_key);
}

static void expect(const char *method, const char *path, const char *name, const char *session, const char *rest)
{
    struct asked asked;
    ask(&asked, method, path);
    assert_int_equal(asked.status, 0);
    assert_string_equal(asked.request.route->name, name);
    assert_true(!session == !asked.request.session && !rest == !asked.request.rest);
    if (session)
        assert_string_equal(asked.request.session, session);
    if (rest)
        assert_string_equal(asked.request.rest, rest);
    done(&asked);
}

static void expect_none(const char *method, const char *path, const char *allowed)
{
    struct asked asked;
    ask(&asked, method, path);
    assert_int_equal(asked.status, -1);
    assert_null(asked.request.route);
    assert_string_equal(asked.allowed, allowed);
    assert_string_equal(px_route_allow(&asked.request), allowed);
    done(&asked);
}

static void test_a_path_and_method_find_their_route(void **state)
{
    (void)state;
    expect("GET", "/v1/sessions", "list", NULL, NULL);
    expect("HEAD", "/v1/sessions", "list", NULL, NULL);
    expect("POST", "/v1/sessions", "create", NULL, NULL);
    expect("GET", "/v1/sessions/a", "show", "a", NULL);
    expect("DELETE", "/v1/sessions/a%2Fb", "close", "a%2Fb", NULL);
    expect("POST", "/v1/sessions/a/execute", "execute", "a", NULL);
    expect("GET", "/v1/sessions/a/files/b", "file", "a", "b");
    expect("GET", "/v1/sessions/a/files/b/c//d", "file", "a", "b/c//d");
    expect("GET", "/", "page", NULL, NULL);
}

static void test_other_paths_and_methods_find_none(void **state)
{
    (void)state;
    expect_none("PUT", "/v1/sessions", "GET, HEAD, POST");
    expect_none("POST", "/v1/sessions/a", "GET, HEAD, DELETE");
    expect_none("HEAD", "/v1/sessions/a/execute", "POST");
    expect_none("get", "/", "GET, HEAD");
    expect_none("GET", "/v1/sessions/", "");
    expect_none("GET", "/v1/sessionsx", "");
    expect_none("GET", "/v1/session", "");
    expect_none("GET", "/v1/sessions//execute", "");
    expect_none("GET", "/v1/sessions/a/files/", "");
    expect_none("GET", "/v1/sessions/a/b", "");
    expect_none("GET", "", "");
}

static void test_routes_of_a_dialect_are_there_when_it_is_enabled(void **state)
{
    (void)state;
    expect_none("POST", "/execute", "");
    server.dialects = PX_DIFY_SANDBOX;
    expect_none("POST", "/execute", "");
    server.dialects = PX_E2B;
    expect("POST", "/execute", "dialect", NULL, NULL);
    server.dialects = 0;
}

static void test_what_is_encoded_separates_nothing(void **state)
{
    static const struct {
        const char *path, *session, *rest; /* session NULL: refused */
    } rows[] = {
        {"/v1/sessions/a%2Fb/files/c%2fd", "a/b", "c/d"}, {"/v1/sessions/%61/files/%C3%A4", "a", "\xc3\xa4"},
        {"/v1/sessions/a/files/%2500", "a", "%00"},       {"/v1/sessions/a/files/%00", NULL, NULL},
        {"/v1/sessions/%00/files/a", NULL, NULL},         {"/v1/sessions/a/files/%", NULL, NULL},
        {"/v1/sessions/a/files/%4", NULL, NULL},          {"/v1/sessions/a/files/%4g", NULL, NULL},
        {"/v1/sessions/a/files/%ff", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        struct asked asked;
        ask(&asked, "GET", rows[i].path);
        assert_int_equal(asked.status, 0);
        assert_int_equal(px_route_decode(&asked.request), rows[i].session ? 0 : -1);
        if (rows[i].session) {
            assert_string_equal(asked.request.session, rows[i].session);
            assert_string_equal(asked.request.rest, rows[i].rest);
        }
        done(&asked);
    }
}

static int key_of(const char *id, char **ret)
{
    struct px_principal ann = {.name = "ann"};
    char copy[200];
    strcpy(copy, id);
    struct px_http_request request = {.session = copy, .principal = &ann};
    int status = px_route_session(&request);
    *ret = request.session_key;
    return status;
}

static void test_a_session_belongs_to_its_principal(void **state)
{
    static const char *const bad[] = {".", "..", "", "a/b", "a b", "\xc3\xa4", "a\n", "../ann"};
    char longest[130], *key;
    (void)state;
    assert_int_equal(key_of("A-z_0.9:b", &key), 0);
    assert_string_equal(key, "ann/A-z_0.9:b");
    free(key);
    memset(longest, 'a', sizeof longest);
    longest[129] = '\0';
    assert_int_equal(key_of(longest, &key), -1);
    longest[128] = '\0';
    assert_int_equal(key_of(longest, &key), 0);
    free(key);
    for (size_t i = 0; i < PX_COUNT(bad); i++)
        if (*bad[i]) /* an empty one matches no route */
            assert_int_equal(key_of(bad[i], &key), -1);
}

static void test_hosts_and_origins(void **state)
{
    const char *names[] = {"box.example"}, *origins[] = {"https://app.example"};
    struct px_serve_config config = {0};
    config.allowed_hosts.items = (char **)(uintptr_t)names;
    config.allowed_hosts.count = 1;
    config.allowed_origins.items = (char **)(uintptr_t)origins;
    config.allowed_origins.count = 1;
    struct px_serve_options options = {.config = &config};
    server.options = &options;
    struct px_listener tcp = {.server = &server, .tcp = true, .host = "here.example"}, local = {.server = &server};
    static const char *const good[] = {"localhost",   "LocalHost:80", "127.0.0.1:8000", "[::1]:8000",
                                       "[fe80::1%2]", "[::1]",        "here.example",   "Box.Example:1"};
    static const char *const bad[] = {
        "evil.example", "localhost.evil.example", "box.example.evil", "127.0.0.1.evil", "", ":80", "box", "[evil]"};
    (void)state;
    for (size_t i = 0; i < PX_COUNT(good); i++)
        if (!px_host_allowed(&tcp, good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        assert_false(px_host_allowed(&tcp, bad[i]));
        assert_true(px_host_allowed(&local, bad[i]));
    }
    assert_false(px_host_allowed(&tcp, NULL));
    assert_true(px_origin_allowed(&tcp, NULL, "here.example"));
    assert_true(px_origin_allowed(&tcp, "http://here.example:80", "here.example:80"));
    assert_true(px_origin_allowed(&tcp, "https://App.example", "here.example"));
    assert_false(px_origin_allowed(&tcp, "https://app.example.evil", "here.example"));
    assert_false(px_origin_allowed(&tcp, "http://evil.example", "here.example"));
    assert_false(px_origin_allowed(&tcp, "null", "here.example"));
    assert_false(px_origin_allowed(&tcp, "http://here.example", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_path_and_method_find_their_route),
        cmocka_unit_test(test_other_paths_and_methods_find_none),
        cmocka_unit_test(test_routes_of_a_dialect_are_there_when_it_is_enabled),
        cmocka_unit_test(test_what_is_encoded_separates_nothing),
        cmocka_unit_test(test_a_session_belongs_to_its_principal),
        cmocka_unit_test(test_hosts_and_origins),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
