/* SPDX-License-Identifier: Apache-2.0 */
/* A script and a host on both sides of a relay, each with OpenSSL, and all records split into parts. */
#include "egress/secret_relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <openssl/pem.h>

#include "base/fds.h"
#include "egress/scrub.h"
#include "egress/secret_side.h"

#define VALUE "sk-live-0123456789abcdefghijklmnopqrstuv"
#define PLACEHOLDER "pyexec-secret-KEY-0011223344556677"
#define SHOWN PLACEHOLDER "******" /* of the value's length */
#define HOST "api.example"

struct fixture {
    struct px_authority *ours, *theirs;
    struct px_secret *secrets;
    struct px_secret_use *uses;
    size_t count;
    SSL_CTX *script_context, *host_context;
};

static int memory_file(const char *text)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0 && px_write_all(fd, text, strlen(text)) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static SSL_CTX *trusting(const char *pem)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    BIO *text = BIO_new_mem_buf(pem, -1);
    X509 *root = PEM_read_bio_X509(text, NULL, NULL, NULL);
    assert_true(root && X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    X509_free(root);
    BIO_free(text);
    return context;
}

static int setup(void **state)
{
    static struct fixture f;
    int empty = memory_file(""), key = memory_file(""), value = memory_file(VALUE "\n");
    assert_null(px_authority_new(empty, empty, &f.theirs));
    int roots = memory_file(px_authority_certificate(f.theirs));
    assert_null(px_authority_new(key, roots, &f.ours));
    px_auto_json json_t *packet = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", "key", "host", HOST, "header",
                                            "Authorization", "before", "Bearer ", "after", "");
    assert_null(px_secret_add(&f.secrets, f.ours, packet, value));
    px_auto_json json_t *uses = json_pack("[{s:s, s:s}]", "name", "key", "placeholder", PLACEHOLDER);
    assert_null(px_secret_uses_new(f.secrets, uses, &f.uses, &f.count));
    f.script_context = trusting(px_authority_certificate(f.ours));
    f.host_context = px_authority_host(f.theirs, HOST);
    close(empty);
    close(key);
    close(value);
    close(roots);
    *state = &f;
    return f.host_context ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    px_secret_uses_free(f->uses, f->count);
    px_secrets_free(f->secrets);
    px_authority_free(f->ours);
    px_authority_free(f->theirs);
    SSL_CTX_free(f->script_context);
    SSL_CTX_free(f->host_context);
    return 0;
}

/* ---- Both sides ---- */

struct world {
    struct px_secret_relay *relay;
    struct px_side script, host;
    struct px_secret_ends ends;
    bool goes_on;
    size_t part;
};

static void open_world(const struct fixture *f, SSL_CTX *host_context, size_t part, struct world *world)
{
    *world = (struct world){.goes_on = true, .part = part};
    world->relay = px_secret_relay_new(f->ours, f->uses, f->count, HOST, 443);
    assert_non_null(world->relay);
    SSL *script = SSL_new(f->script_context), *host = SSL_new(host_context);
    SSL_set_connect_state(script);
    SSL_set_tlsext_host_name(script, HOST);
    SSL_set1_host(script, HOST);
    SSL_set_accept_state(host);
    assert_true(px_side_init(&world->script, script) && px_side_init(&world->host, host));
    world->ends.client_in = evbuffer_new();
    world->ends.client_out = evbuffer_new();
    world->ends.server_in = evbuffer_new();
    world->ends.server_out = evbuffer_new();
}

static void close_world(struct world *world)
{
    px_secret_relay_free(world->relay);
    px_side_done(&world->script);
    px_side_done(&world->host);
    evbuffer_free(world->ends.client_in);
    evbuffer_free(world->ends.client_out);
    evbuffer_free(world->ends.server_in);
    evbuffer_free(world->ends.server_out);
}

/* Carries bytes in small parts, with a move of the relay after each. */
static void carry(struct world *world, struct px_side *side, struct evbuffer *to)
{
    struct evbuffer *records = evbuffer_new();
    px_side_flush(side, records);
    while (evbuffer_get_length(records)) {
        evbuffer_remove_buffer(records, to, world->part);
        world->goes_on &= px_secret_relay_move(world->relay, &world->ends);
    }
    evbuffer_free(records);
}

static void run(struct world *world)
{
    for (int round = 0; round < 12; round++) {
        (void)px_side_read(&world->script, world->ends.client_out, false);
        (void)px_side_read(&world->host, world->ends.server_out, false);
        carry(world, &world->script, world->ends.client_in);
        carry(world, &world->host, world->ends.server_in);
        world->goes_on &= px_secret_relay_move(world->relay, &world->ends);
    }
}

static const char *text_of(struct px_side *side)
{
    return px_buffer_string(&side->plain);
}

static void say(struct px_side *side, const char *text)
{
    px_side_write(side, text, strlen(text));
}

/* Opens both sides and sends a request. */
static void begin(const struct fixture *f, struct world *world, size_t part, const char *request)
{
    open_world(f, f->host_context, part, world);
    run(world);
    assert_true(px_side_is_ready(&world->script) && px_side_is_ready(&world->host));
    say(&world->script, request);
    run(world);
}

#define GET "GET /a?b HTTP/1.1\r\nHost: " HOST "\r\n"

static void expect_answer(void **state, const char *request, const char *answer, const char *wanted)
{
    static const size_t parts[] = {1, 7, 100, 20000};
    for (size_t i = 0; i < PX_COUNT(parts); i++) {
        struct world world;
        begin(*state, &world, parts[i], request);
        assert_non_null(strstr(text_of(&world.host), "\r\nAuthorization: Bearer " VALUE "\r\n"));
        for (const char *at = answer; *at;) { /* in records of a few bytes */
            size_t length = strlen(at) < parts[i] + 2 ? strlen(at) : parts[i] + 2;
            px_side_write(&world.host, at, length);
            at += length;
        }
        run(&world);
        assert_string_equal(text_of(&world.script), wanted);
        close_world(&world);
    }
}

static void test_request_gets_the_secret(void **state)
{
    struct world world;
    begin(*state, &world, 20000,
          GET "authorization: Bearer mine\r\nAccept-Encoding: gzip\r\nX-Other: " PLACEHOLDER "\r\n\r\n");
    assert_string_equal(text_of(&world.host), "GET /a?b HTTP/1.1\r\nHost: " HOST "\r\nAccept-Encoding: identity\r\n"
                                              "Authorization: Bearer " VALUE "\r\nX-Other: " PLACEHOLDER
                                              "\r\nConnection: keep-alive\r\n\r\n");
    close_world(&world);
}

static void test_answers_are_scrubbed(void **state)
{
    expect_answer(state, GET "\r\n",
                  "HTTP/1.1 200 " VALUE "\r\nX-Echo: " VALUE "\r\nContent-Length: 44\r\n\r\n<<" VALUE ">>",
                  "HTTP/1.1 200 " SHOWN "\r\nX-Echo: " SHOWN "\r\nContent-Length: 44\r\n\r\n<<" SHOWN ">>");
    expect_answer(state, GET "\r\n",
                  "HTTP/1.1 103 Early Hints\r\nLink: " VALUE "\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                  "HTTP/1.1 103 Early Hints\r\nLink: " SHOWN "\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
}

/* Returns the content of a chunked answer of the relay. */
static void read_chunks(const char *text, struct px_buffer *to)
{
    const char *at = strstr(text, "\r\n\r\n") + 4;
    for (size_t length; sscanf(at, "%zx", &length) == 1 && length; at += length + 2) {
        at = strstr(at, "\r\n") + 2;
        px_buffer_add(to, at, length);
    }
}

static void test_secret_over_chunks(void **state)
{
    for (size_t split = 1; split < strlen(VALUE); split++) {
        struct world world;
        char answer[512];
        px_auto_buffer struct px_buffer content = {0};
        begin(*state, &world, 64, GET "\r\n");
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx;x=y\r\n%.*s\r\n%zx\r\n%s\r\n0\r\nT: " VALUE
                 "\r\n\r\n",
                 split, (int)split, VALUE, strlen(VALUE) - split, &VALUE[split]);
        say(&world.host, answer);
        run(&world);
        read_chunks(text_of(&world.script), &content);
        assert_int_equal(content.length, strlen(VALUE));
        assert_string_equal(px_buffer_string(&content) + PX_SCRUB_PAUSE_MAX, &SHOWN[PX_SCRUB_PAUSE_MAX]);
        assert_null(strstr(text_of(&world.script), "T: "));
        assert_true(world.goes_on);
        close_world(&world);
    }
}

static void test_several_requests_on_a_connection(void **state)
{
    struct world world;
    static const char post[] = "POST /p HTTP/1.1\r\nHost: " HOST ":443\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n0\r\n\r\n";
    begin(*state, &world, 50, GET "\r\n");
    say(&world.script, post); /* before the first answer */
    say(&world.host, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    run(&world);
    assert_non_null(strstr(text_of(&world.host), "POST /p HTTP/1.1"));
    assert_non_null(strstr(text_of(&world.host), "3\r\nabc\r\n0\r\n\r\n"));
    say(&world.host, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n");
    run(&world);
    say(&world.script, "HEAD / HTTP/1.1\r\nHost: " HOST "\r\n\r\n");
    run(&world);
    say(&world.host, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    run(&world);
    assert_string_equal(text_of(&world.script), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                                                "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
                                                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    assert_true(world.goes_on);
    close_world(&world);
}

static void test_requests_that_are_refused(void **state)
{
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: " HOST ":8443\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: " HOST "\r\nHost: " HOST "\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: " HOST "\r\n\r\n",
        "GET https://other.example/ HTTP/1.1\r\nHost: " HOST "\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: " HOST "\r\n\r\n",
        "CONNECT other.example:443 HTTP/1.1\r\nHost: " HOST "\r\n\r\n",
        GET "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        GET "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        GET "Transfer-Encoding: gzip, chunked\r\n\r\n",
        GET "X: a\nY: b\r\n\r\n",
        GET "X: a\r\n folded\r\n\r\n",
        GET "X : a\r\n\r\n",
        GET "Connection: Upgrade\r\nUpgrade: tls/1.0\r\n\r\n",
        GET "Connection: host\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };
    for (size_t i = 0; i < PX_COUNT(requests); i++) {
        struct world world;
        const char *text;
        begin(*state, &world, 20000, requests[i]);
        assert_string_equal(text_of(&world.host), "");
        assert_int_equal(strncmp(text_of(&world.script), "HTTP/1.1 40", 11), 0);
        assert_non_null(strstr(text_of(&world.script), "pyexec refused a request to " HOST ":443: "));
        assert_false(world.goes_on);
        assert_int_not_equal(px_secret_relay_problem(world.relay, &text), PX_SECRET_NO_PROBLEM);
        close_world(&world);
    }
}

static void test_answers_that_are_refused(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nxx",
        "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
    };
    for (size_t i = 0; i < PX_COUNT(answers); i++) {
        struct world world;
        begin(*state, &world, 20000, GET "\r\n");
        say(&world.host, answers[i]);
        run(&world);
        assert_non_null(strstr(text_of(&world.script), "HTTP/1.1 502 Bad Gateway"));
        assert_false(world.goes_on);
        close_world(&world);
    }
}

static void end_host(struct world *world, bool says_so)
{
    if (says_so)
        px_side_close(&world->host);
    else
        world->ends.server_ended = true;
    run(world);
}

/* The script has no answer so far, and the server ends. */
static void expect_end(void **state, const char *before, const char *request, const char *after, const char *why)
{
    for (int says_so = 0; says_so < 2; says_so++) {
        struct world world;
        const char *text;
        open_world(*state, ((const struct fixture *)*state)->host_context, 20000, &world);
        run(&world);
        if (before) {
            say(&world.host, before);
            end_host(&world, says_so);
            assert_true(world.goes_on); /* until there is a request to answer */
        }
        say(&world.script, request);
        run(&world);
        if (after) {
            say(&world.host, after);
            run(&world);
            end_host(&world, says_so);
        }
        assert_non_null(strstr(text_of(&world.script), "HTTP/1.1 502 Bad Gateway\r\n"));
        assert_non_null(strstr(text_of(&world.script), why));
        assert_true(world.script.ended);
        assert_false(world.goes_on);
        assert_int_equal(px_secret_relay_problem(world.relay, &text), PX_SECRET_PROBLEM_SERVER);
        close_world(&world);
    }
}

static void test_server_that_ends_without_an_answer(void **state)
{
    expect_end(state, "", GET "\r\n", NULL, "it closed the connection before it got a request");
    expect_end(state, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", GET "\r\n", NULL,
               "it sent an answer before there was a request");
    expect_end(state, NULL, GET "\r\n", "", "it closed the connection without an answer");
    expect_end(state, NULL, GET "\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "it closed the connection without an answer");
    expect_end(state, NULL, GET "\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "it closed the connection within the head");
    expect_end(state, NULL, "POST / HTTP/1.1\r\nHost: " HOST "\r\nContent-Length: 9\r\n\r\n12", "",
               "it closed the connection without an answer");
}

/* Its connection stays open, and nothing of it has an end that could be waited for. */
static void test_server_that_does_not_speak_http(void **state)
{
    static const char *const answers[] = {"SSH-2.0-x", "\r\nHTTP/1.1 200 OK\r\n", "HTTP/2 200", "H3", "{\"error\": 1}"};
    for (size_t i = 0; i < PX_COUNT(answers); i++) {
        struct world world;
        begin(*state, &world, 20000, GET "\r\n");
        say(&world.host, answers[i]);
        run(&world);
        assert_non_null(strstr(text_of(&world.script), "502 Bad Gateway\r\n"));
        assert_non_null(strstr(text_of(&world.script), "it answers with something else than HTTP/1"));
        assert_false(world.goes_on);
        close_world(&world);
    }
}

/* An answer that ends with its connection has an end for the script only if the server has said so. */
static void test_answer_that_is_cut(void **state)
{
    static const struct {
        const char *answer;
        bool says_so, complete;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\nhello", true, true},
        {"HTTP/1.1 200 OK\r\n\r\nhello", false, false},
        {"HTTP/1.1 200 OK\r\n\r\n", false, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", true, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true, false},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        struct world world;
        const char *text;
        begin(*state, &world, 20000, GET "\r\n");
        say(&world.host, cases[i].answer);
        run(&world);
        end_host(&world, cases[i].says_so);
        assert_false(world.goes_on);
        assert_int_equal(strstr(text_of(&world.script), "\r\n0\r\n\r\n") != NULL, cases[i].complete);
        assert_int_equal(px_secret_relay_problem(world.relay, &text),
                         cases[i].complete ? PX_SECRET_NO_PROBLEM : PX_SECRET_PROBLEM_SERVER);
        close_world(&world);
    }
}

/* Between two requests it may end; libraries then open another connection. */
static void test_server_that_ends_between_two_requests(void **state)
{
    static const char *const last[] = {"", "HTTP/1.1 408 Request Timeout\r\n\r\n"};
    for (size_t i = 0; i < PX_COUNT(last); i++) {
        struct world world;
        const char *text;
        begin(*state, &world, 20000, GET "\r\n");
        say(&world.host, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        run(&world);
        say(&world.host, last[i]);
        end_host(&world, true);
        assert_string_equal(text_of(&world.script), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_true(world.script.ended && px_side_was_closed(&world.script));
        assert_int_equal(px_secret_relay_problem(world.relay, &text), PX_SECRET_NO_PROBLEM);
        close_world(&world);
    }
}

/* Only a request that is complete and has no answer yet is answered. */
static void test_server_that_is_silent(void **state)
{
    static const struct {
        const char *request, *answer;
        bool told;
    } rows[] = {
        {GET "\r\n", "", true},
        {GET "\r\n", "HTTP/1.1 200 OK\r\nContent-Le", true},
        {GET "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", false},
        {GET "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
        {"POST / HTTP/1.1\r\nHost: " HOST "\r\nContent-Length: 9\r\n\r\n12", "", true},
        {GET, "", false},
        {"", "", false},
    };
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        struct world world;
        const char *text;
        begin(*state, &world, 20000, rows[i].request);
        say(&world.host, rows[i].answer);
        run(&world);
        px_secret_relay_silent(world.relay, world.ends.client_out, "nothing came");
        run(&world);
        bool told = strstr(text_of(&world.script), "HTTP/1.1 504 Gateway Timeout\r\n") &&
                    strstr(text_of(&world.script), "pyexec could not reach " HOST ":443: nothing came.");
        assert_int_equal(told, rows[i].told);
        assert_int_equal(px_secret_relay_problem(world.relay, &text),
                         rows[i].told ? PX_SECRET_PROBLEM_SILENT : PX_SECRET_NO_PROBLEM);
        close_world(&world);
    }
}

/* A certificate of our own authority is not one that servers are checked with. */
static void test_certificate_of_the_server_is_checked(void **state)
{
    const struct fixture *f = *state;
    const char *hosts[] = {"wrong.example", HOST};
    struct px_authority *authorities[] = {f->theirs, f->ours};
    for (size_t i = 0; i < PX_COUNT(hosts); i++) {
        struct world world;
        SSL_CTX *context = px_authority_host(authorities[i], hosts[i]);
        open_world(f, context, 20000, &world);
        run(&world);
        say(&world.script, GET "\r\n");
        run(&world);
        assert_string_equal(text_of(&world.host), "");
        assert_non_null(strstr(text_of(&world.script), "its certificate is not valid ("));
        assert_false(world.goes_on);
        close_world(&world);
        SSL_CTX_free(context);
    }
}

static void test_websocket_is_scrubbed(void **state)
{
    struct world world;
    begin(*state, &world, 64,
          GET "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
              "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    assert_non_null(strstr(text_of(&world.host), "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    assert_null(strstr(text_of(&world.host), "deflate"));
    say(&world.host, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    run(&world);
    px_buffer_consume(&world.script.plain, world.script.plain.length);
    say(&world.host, "\x81\x2a[" VALUE "]");
    say(&world.script, "frame");
    run(&world);
    assert_string_equal(text_of(&world.script), "\x81\x2a[" SHOWN "]");
    assert_non_null(strstr(text_of(&world.host), "\r\n\r\nframe"));
    say(&world.host, "ends in s"); /* the value's first byte must not be waited for */
    run(&world);
    assert_non_null(strstr(text_of(&world.script), "ends in s"));
    close_world(&world);
}

static void test_authority_is_the_same_for_the_next_proxy(void **state)
{
    struct px_authority *first = NULL, *second = NULL;
    (void)state;
    int key = memory_file(""), roots = memory_file("");
    assert_null(px_authority_new(key, roots, &first));
    assert_null(px_authority_new(key, roots, &second));
    assert_string_equal(px_authority_certificate(first), px_authority_certificate(second));
    px_authority_free(first);
    px_authority_free(second);
    close(key);
    close(roots);
}

static void test_values_that_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const values[] = {"", "short\n", "with\nnewline", "with\ttabulator", "with\177delete"};
    for (size_t i = 0; i < PX_COUNT(values); i++) {
        struct px_secret *list = NULL;
        int value = memory_file(values[i]);
        px_auto_json json_t *packet = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", "key", "host", HOST, "header",
                                                "X-Key", "before", "", "after", "");
        assert_non_null(px_secret_add(&list, f->ours, packet, value));
        assert_null(list);
        close(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_gets_the_secret),
        cmocka_unit_test(test_answers_are_scrubbed),
        cmocka_unit_test(test_secret_over_chunks),
        cmocka_unit_test(test_several_requests_on_a_connection),
        cmocka_unit_test(test_requests_that_are_refused),
        cmocka_unit_test(test_answers_that_are_refused),
        cmocka_unit_test(test_server_that_ends_without_an_answer),
        cmocka_unit_test(test_server_that_does_not_speak_http),
        cmocka_unit_test(test_answer_that_is_cut),
        cmocka_unit_test(test_server_that_ends_between_two_requests),
        cmocka_unit_test(test_server_that_is_silent),
        cmocka_unit_test(test_certificate_of_the_server_is_checked),
        cmocka_unit_test(test_websocket_is_scrubbed),
        cmocka_unit_test(test_authority_is_the_same_for_the_next_proxy),
        cmocka_unit_test(test_values_that_are_refused),
    };
    return cmocka_run_group_tests_name("egress/secret_relay", tests, setup, teardown);
}
