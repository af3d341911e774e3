/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/http_target.h"

#include <string.h>
#include <strings.h>

#define HTTP_PORT 80
#define HTTP_SCHEME "http://"

static void show(struct px_http_text text, char ret[PX_HOST_NAME_MAX + 1])
{
    size_t length = text.length < PX_HOST_NAME_MAX ? text.length : PX_HOST_NAME_MAX;
    for (size_t i = 0; i < length; i++)
        ret[i] = text.bytes[i] > ' ' && text.bytes[i] < 0x7f ? text.bytes[i] : '?';
    ret[length] = '\0';
}

/* Splits at the colon in front of the port: the last one, but none inside of [an IPv6 address]. */
static const char *find_port(struct px_http_text text)
{
    for (size_t i = text.length; i > 0 && text.bytes[i - 1] != ']'; i--)
        if (text.bytes[i - 1] == ':')
            return text.bytes + i;
    return NULL;
}

const char *px_http_authority_parse(struct px_http_text text, uint16_t port, struct px_http_authority *ret)
{
    const char *digits = find_port(text);
    struct px_http_text name = {text.bytes, digits ? (size_t)(digits - text.bytes) - 1 : text.length};
    ret->port = digits ? px_host_port_parse(digits, text.length - name.length - 1) : port;
    ret->has_port = digits != NULL;
    ret->name[0] = '\0';
    show(name, ret->shown);
    if (digits && !ret->port)
        return "the port is not a number from 1 to 65535";
    if (memchr(name.bytes, '@', name.length))
        return "there is a user name in front of the host";
    const char *why = px_host_name_parse(name.bytes, name.length, ret->name);
    if (why)
        ret->name[0] = '\0';
    return why;
}

const char *px_http_absolute_parse(struct px_http_text target, struct px_http_authority *ret,
                                   struct px_http_text *ret_path)
{
    size_t scheme = sizeof HTTP_SCHEME - 1, end = scheme;
    *ret = (struct px_http_authority){.port = 0};
    if (target.length < scheme || strncasecmp(target.bytes, HTTP_SCHEME, scheme) != 0)
        return "the address does not begin with http://; https is asked for with CONNECT";
    if (memchr(target.bytes, '#', target.length))
        return "the address has a fragment ('#')";
    while (end < target.length && target.bytes[end] != '/' && target.bytes[end] != '?')
        end++;
    /* Programs disagree about where the host ends after a backslash. */
    if (memchr(target.bytes, '\\', end))
        return "there is a backslash in the host";
    *ret_path = (struct px_http_text){target.bytes + end, target.length - end};
    return px_http_authority_parse((struct px_http_text){target.bytes + scheme, end - scheme}, HTTP_PORT, ret);
}
