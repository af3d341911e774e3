/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers of pyexec-egress. The first byte chooses the parser. What a parser accepts must have the properties that the proxy relies
 * on, and must not depend on how the bytes arrive. */
#include "base/cleanup.h"
#include "base/ip_network.h"
#include "egress/client_hello.h"
#include "egress/http_body.h"
#include "egress/http_head.h"
#include "egress/http_target.h"
#include "egress/public_address.h"
#include "fuzz.h"

static void require_name(const char *name)
{
    char again[PX_HOST_NAME_MAX + 1];
    size_t length = strlen(name);
    require(length >= 1 && length <= PX_HOST_NAME_MAX &&
            strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == length);
    require(!px_host_name_parse(name, length, again) && strcmp(name, again) == 0);
    /* No address in any spelling: its last label does not begin with a digit. */
    const char *last = strrchr(name, '.');
    last = last ? last + 1 : name;
    require(*last && !(*last >= '0' && *last <= '9'));
}

static void require_authority(const struct px_http_authority *authority, const char *why)
{
    require(strlen(authority->shown) <= PX_HOST_NAME_MAX);
    for (const char *at = authority->shown; *at; at++)
        require(*at > ' ' && *at < 0x7f);
    if (!why)
        require_name(authority->name);
    else
        require(!*authority->name);
}

static void fuzz_head(const char *bytes, size_t size, bool request)
{
    static struct px_http_head head;
    size_t scanned = 0, piecewise = 0, found = 0, length = px_http_head_length(bytes, size, &scanned);
    for (size_t have = 0; have <= size && !found; have++)
        found = px_http_head_length(bytes, have, &piecewise);
    require(found == length);
    if (!length)
        return;
    if (request ? px_http_request_parse(bytes, length, &head) : px_http_response_parse(bytes, length, &head))
        return;
    require(head.count <= PX_HTTP_FIELDS_MAX && (head.minor == 0 || head.minor == 1) && !memchr(bytes, 0, length));
    for (size_t i = 0; i < head.count; i++) {
        const struct px_http_field *field = &head.fields[i];
        require(field->name.length && !memchr(field->value.bytes, '\r', field->value.length) &&
                !memchr(field->value.bytes, '\n', field->value.length));
        (void)px_http_field_is_hop(&head, field);
    }
    enum px_http_framing framing;
    uint64_t body;
    struct px_http_text value;
    const char *why = request ? px_http_request_framing(&head, &framing, &body)
                              : px_http_response_framing(&head, false, &framing, &body);
    if (!why)
        require(px_http_field_count(&head, "content-length", &value) +
                    px_http_field_count(&head, "transfer-encoding", &value) <=
                1);
    struct px_http_authority authority = {.port = 0};
    struct px_http_text path = {NULL, 0};
    if (request) {
        why = px_http_absolute_parse(head.target, &authority, &path);
        if (!why) {
            require_authority(&authority, NULL);
            require(path.length == 0 || path.bytes[0] == '/' || path.bytes[0] == '?');
        }
    }
}

static void fuzz_body(const char *bytes, size_t size)
{
    struct px_http_body whole, pieces;
    px_http_body_init(&whole, PX_HTTP_CHUNKED, 0);
    px_http_body_init(&pieces, PX_HTTP_CHUNKED, 0);
    ptrdiff_t taken = px_http_body_take(&whole, bytes, size), sum = 0;
    for (size_t i = 0; i < size && !pieces.done && sum >= 0; i++) {
        ptrdiff_t one = px_http_body_take(&pieces, bytes + i, 1);
        sum = one < 0 ? -1 : sum + one;
    }
    require(taken == sum && (taken < 0 || whole.done == pieces.done) && taken <= (ptrdiff_t)size);
    require(taken < 0 || whole.done || (size_t)taken == size);
}

static void fuzz_hello(const char *bytes, size_t size)
{
    char name[PX_HOST_NAME_MAX + 1] = "", early[PX_HOST_NAME_MAX + 1] = "";
    enum px_client_hello result = px_client_hello_parse((const unsigned char *)bytes, size, name);
    if (result == PX_CLIENT_HELLO_NAME)
        require_name(name);
    /* The decision is the same when it is made earlier. */
    for (size_t have = 1; have < size; have++) {
        enum px_client_hello before = px_client_hello_parse((const unsigned char *)bytes, have, early);
        if (before == PX_CLIENT_HELLO_MORE)
            continue;
        require(before == result && (before != PX_CLIENT_HELLO_NAME || strcmp(name, early) == 0));
        break;
    }
}

static void fuzz_address(const char *bytes, size_t size)
{
    struct px_ip_network network = {.bits = 0};
    char shown[INET6_ADDRSTRLEN];
    if (px_ip_network_parse(bytes, size, &network))
        require(network.bits <= 128);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    memcpy(&six.sin6_addr, bytes, size < 16 ? size : 16);
    memcpy(&four.sin_addr, bytes, size < 4 ? size : 4);
    px_ip_address_format((struct sockaddr *)&six, shown, sizeof shown);
    if (!px_public_address_check((struct sockaddr *)&six))
        require(six.sin6_addr.s6_addr[0] >> 5 == 1 ||
                memcmp(&six.sin6_addr, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12) == 0);
    /* What is said about an IPv4 address also holds for it behind NAT64. */
    memset(&six.sin6_addr, 0, 16);
    memcpy(&six.sin6_addr, "\0\x64\xff\x9b", 4);
    memcpy(six.sin6_addr.s6_addr + 12, &four.sin_addr, 4);
    require(px_public_address_check((struct sockaddr *)&six) == px_public_address_check((struct sockaddr *)&four));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct px_http_authority authority;
    struct px_host_entry entry;
    /* A copy of exactly this length, so that AddressSanitizer reports each read beyond its end. */
    px_auto_free char *bytes = malloc(size ? size : 1);
    require(bytes != NULL);
    if (size < 1)
        return 0;
    size--;
    memcpy(bytes, data + 1, size);
    const char *why;
    switch (data[0] % 7) {
    case 0:
        fuzz_head(bytes, size, true);
        break;
    case 1:
        fuzz_head(bytes, size, false);
        break;
    case 2:
        fuzz_body(bytes, size);
        break;
    case 3:
        fuzz_hello(bytes, size);
        break;
    case 4:
        fuzz_address(bytes, size);
        break;
    case 5:
        why = px_http_authority_parse((struct px_http_text){bytes, size}, 0, &authority);
        require_authority(&authority, why);
        break;
    default:
        if (!px_host_entry_parse(bytes, size, &entry)) {
            require_name(entry.name);
            require(entry.port && px_host_entry_covers(&entry, &entry));
        }
    }
    return 0;
}
