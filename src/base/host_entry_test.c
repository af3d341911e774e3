/* SPDX-License-Identifier: Apache-2.0 */
#include "base/host_entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

static struct px_host_entry parsed(const char *text)
{
    struct px_host_entry entry;
    const char *why = px_host_entry_parse(text, strlen(text), &entry);
    if (why)
        fail_msg("%s: %s", text, why);
    return entry;
}

static void entries_have_a_name_a_star_and_a_port(void **state)
{
    static const struct {
        const char *text, *name;
        bool wildcard;
        uint16_t port;
    } rows[] = {
        {"example.com", "example.com", false, 443},
        {"Example.COM.:80", "example.com", false, 80},
        {"*.example.com:65535", "example.com", true, 65535},
        {"*.com", "com", true, 443},
        {"intranet", "intranet", false, 443},
        {"xn--bcher-kva.example", "xn--bcher-kva.example", false, 443},
        {"_sip.a-b.example", "_sip.a-b.example", false, 443},
        {"1password.com", "1password.com", false, 443},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        struct px_host_entry entry = parsed(rows[i].text);
        assert_string_equal(entry.name, rows[i].name);
        assert_int_equal(entry.wildcard, rows[i].wildcard);
        assert_int_equal(entry.port, rows[i].port);
    }
}

static void other_texts_are_refused_with_a_reason(void **state)
{
    static const char *const texts[] = {
        "",
        ".",
        "..",
        ":443",
        "a..b",
        ".a",
        "-a.example",
        "a-.example",
        "*",
        "*.",
        "*.*.example",
        "a*.example",
        "*a.example",
        "a.*.example",
        "a.example:",
        "a.example:0",
        "a.example:01",
        "a.example:65536",
        "a.example:443x",
        "a.example:+1",
        "a.example: 443",
        "https://a.example",
        "a.example/path",
        "a b.example",
        "a\n.example",
        "\xc3\xbc.example",
        "user@a.example",
        "1.2.3.4",
        "1.2.3.4:443",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "2130706433",
        "1.2.3.4.",
        "[::1]",
        "[::1]:443",
        "::1",
        "fe80::1%eth0",
        "a.example%25eth0",
        "a.0x7f",
        "*.1.2.3.4",
        "a.example\\b",
        "a,b",
        "a;b",
        "\t",
        "a.example.:443:1",
        "a.example..",
    };
    struct px_host_entry entry;
    char longest[PX_HOST_ENTRY_MAX + 20];
    (void)state;
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        if (!px_host_entry_parse(texts[i], strlen(texts[i]), &entry))
            fail_msg("'%s' is taken", texts[i]);
    assert_non_null(px_host_entry_parse("a\0b", 3, &entry));
    memset(longest, 'a', sizeof longest);
    assert_non_null(px_host_entry_parse(longest, PX_HOST_LABEL_MAX + 1, &entry));
    assert_null(px_host_entry_parse(longest, PX_HOST_LABEL_MAX, &entry));
    for (size_t i = 49; i < sizeof longest; i += 50)
        longest[i] = '.';
    assert_null(px_host_entry_parse(longest, PX_HOST_NAME_MAX, &entry));
    assert_non_null(px_host_entry_parse(longest, PX_HOST_NAME_MAX + 1, &entry));
    memcpy(longest, "*.", 2);
    assert_null(px_host_entry_parse(longest, PX_HOST_NAME_MAX, &entry));
    assert_non_null(px_host_entry_parse(longest, PX_HOST_NAME_MAX + 1, &entry));
}

static void a_star_stands_for_one_label(void **state)
{
    struct px_host_entry star = parsed("*.example.com"), name = parsed("example.com");
    (void)state;
    assert_true(px_host_entry_names(&star, "a.example.com"));
    assert_false(px_host_entry_names(&star, "example.com"));
    assert_false(px_host_entry_names(&star, ".example.com"));
    assert_false(px_host_entry_names(&star, "a.b.example.com"));
    assert_false(px_host_entry_names(&star, "aexample.com"));
    assert_true(px_host_entry_names(&name, "example.com"));
    assert_false(px_host_entry_names(&name, "a.example.com"));
    assert_false(px_host_entry_names(&name, "example.com.evil.example"));
}

static void a_ceiling_covers_what_it_names(void **state)
{
    static const struct {
        const char *ceiling, *wanted;
        bool covers;
    } rows[] = {
        {"a.example", "a.example", true},  {"a.example", "a.example:80", false},   {"*.example", "a.example", true},
        {"*.example", "*.example", true},  {"*.example", "*.a.example", false},    {"*.example", "a.b.example", false},
        {"a.example", "*.example", false}, {"*.example:80", "a.example:80", true}, {"*.example:80", "a.example", false},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        struct px_host_entry ceiling = parsed(rows[i].ceiling), wanted = parsed(rows[i].wanted);
        assert_int_equal(px_host_entry_covers(&ceiling, &wanted), rows[i].covers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_have_a_name_a_star_and_a_port),
        cmocka_unit_test(other_texts_are_refused_with_a_reason),
        cmocka_unit_test(a_star_stands_for_one_label),
        cmocka_unit_test(a_ceiling_covers_what_it_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
