/* SPDX-License-Identifier: Apache-2.0 */
#include "base/host_entry.h"

#include <string.h>

#include "base/cleanup.h"

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Underscores are in no host's name by RFC 952, but are in names that people use. */
static bool is_name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || is_digit(byte) || byte == '-' || byte == '_';
}

static const char *check_labels(const char *name)
{
    const char *label = name;
    for (;;) {
        size_t length = strcspn(label, ".");
        if (length == 0)
            return "it has an empty label: two dots, or a dot at its beginning";
        if (length > PX_HOST_LABEL_MAX)
            return "a label between two dots has more than " PX_TEXT(PX_HOST_LABEL_MAX) " bytes";
        if (label[0] == '-' || label[length - 1] == '-')
            return "a label begins or ends with '-'";
        if (!label[length])
            return is_digit(*label) ? "it is an IP address, or looks like one; only names can be allowed" : NULL;
        label += length + 1;
    }
}

const char *px_host_name_parse(const char *text, size_t length, char *ret)
{
    if (length > 0 && text[length - 1] == '.')
        length--;
    if (length == 0)
        return "it is empty";
    if (length > PX_HOST_NAME_MAX)
        return "it has more than " PX_TEXT(PX_HOST_NAME_MAX) " bytes";
    for (size_t i = 0; i < length; i++) {
        ret[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
        if (text[i] == ':' || text[i] == '[' || text[i] == '%')
            return "it is an IP address, or looks like one; only names can be allowed";
        if (text[i] == '*')
            return "a '*' stands for the whole first label only, as in *.example.com";
        if (!is_name_byte(ret[i]) && ret[i] != '.')
            return "it has a byte that is not a letter, digit, '-', '_' or '.'; write other scripts as punycode (xn--…)";
    }
    ret[length] = '\0';
    return check_labels(ret);
}

uint16_t px_host_port_parse(const char *text, size_t length)
{
    unsigned port = 0;
    if (length == 0 || length > 5 || text[0] == '0')
        return 0;
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i]))
            return 0;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

const char *px_host_entry_parse(const char *text, size_t length, struct px_host_entry *ret)
{
    *ret = (struct px_host_entry){.port = PX_HOST_ENTRY_DEFAULT_PORT};
    if (memchr(text, '/', length))
        return "it has a '/': give NAME or NAME:PORT, without https:// and without a path";
    const char *colon = memchr(text, ':', length);
    if (colon && text[0] != '[' && !memchr(colon + 1, ':', length - (size_t)(colon + 1 - text))) {
        ret->port = px_host_port_parse(colon + 1, length - (size_t)(colon + 1 - text));
        if (!ret->port)
            return "its port is not a number from 1 to 65535";
        length = (size_t)(colon - text);
    }
    ret->wildcard = length >= 2 && text[0] == '*' && text[1] == '.';
    size_t skip = ret->wildcard ? 2 : 0;
    const char *why = px_host_name_parse(text + skip, length - skip, ret->name);
    if (!why && ret->wildcard && strlen(ret->name) > PX_HOST_NAME_MAX - 2)
        return "it has more than " PX_TEXT(PX_HOST_NAME_MAX) " bytes";
    return why;
}

bool px_host_entry_names(const struct px_host_entry *entry, const char *name)
{
    if (!entry->wildcard)
        return strcmp(entry->name, name) == 0;
    const char *dot = strchr(name, '.');
    return dot && dot > name && strcmp(entry->name, dot + 1) == 0;
}

bool px_host_entry_covers(const struct px_host_entry *ceiling, const struct px_host_entry *wanted)
{
    if (ceiling->port != wanted->port)
        return false;
    if (wanted->wildcard)
        return ceiling->wildcard && strcmp(ceiling->name, wanted->name) == 0;
    return px_host_entry_names(ceiling, wanted->name);
}
