/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ip_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address = {0};
    if (inet_pton(AF_INET, text, &((struct sockaddr_in *)&address)->sin_addr) == 1)
        address.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&address)->sin6_addr) == 1)
        address.ss_family = AF_INET6;
    assert_int_not_equal(address.ss_family, AF_UNSPEC);
    return address;
}

static void networks_have_the_addresses_of_their_first_bits(void **state)
{
    static const struct {
        const char *network, *address;
        bool has;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "a00::1", false},
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "10.1.2.2", false},
        {"10.1.2.3/32", "10.1.2.3", true},
        {"127.0.0.0/30", "127.0.0.3", true},
        {"127.0.0.0/30", "127.0.0.4", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"fd00::/8", "fdff::1", true},
        {"fd00::/8", "fc00::1", false},
        {"::1", "::1", true},
        {"::1", "::", false},
        {"2001:db8::/127", "2001:db8::1", true},
        {"2001:db8::/127", "2001:db8::2", false},
    };
    (void)state;
    for (size_t i = 0; i < PX_COUNT(rows); i++) {
        struct px_ip_network network;
        struct sockaddr_storage address = address_of(rows[i].address);
        assert_true(px_ip_network_parse(rows[i].network, strlen(rows[i].network), &network));
        if (px_ip_networks_have(&network, 1, (struct sockaddr *)&address) != rows[i].has)
            fail_msg("%s and %s", rows[i].network, rows[i].address);
    }
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct px_ip_network all;
    assert_true(px_ip_network_parse("::/0", 4, &all));
    assert_false(px_ip_networks_have(&all, 1, &other));
}

static void other_texts_are_no_networks(void **state)
{
    static const char *const texts[] = {
        "",
        "/",
        "/8",
        "10/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/8 ",
        " 10.0.0.0/8",
        "10.0.0.0/8/8",
        "10.0.0.1/8",
        "10.0.0.0/0x8",
        "fd00::/129",
        "fd00::1/8",
        "fd00::/8x",
        "a.example",
        "010.0.0.0/8",
        "::1%lo",
        "10.0.0.0/4294967304",
    };
    (void)state;
    struct px_ip_network network;
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        if (px_ip_network_parse(texts[i], strlen(texts[i]), &network))
            fail_msg("'%s' was accepted", texts[i]);
    assert_false(px_ip_network_parse("10.0.0.0/8\0 x", 12, &network));
    assert_true(px_ip_network_parse("10.0.0.0/8, x", 10, &network)); /* the text goes on after its length */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_have_the_addresses_of_their_first_bits),
        cmocka_unit_test(other_texts_are_no_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
