/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of values: which texts each accepts, and how its numbers are written. All are pure functions of
 * untrusted text. The most important one decides which module names are accepted, because these names appear in
 * messages and in the guard's sets. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/host_entry.h"
#include "base/ip_network.h"
#include "base/layers.h"
#include "base/paths.h"
#include "base/utf8.h"
#include "environments/environment.h"
#include "policy/fields.h"

/* Characters that no identifier has and that could make a message misleading: control characters, spaces, marks of
 * writing direction, symbols, private use. Python's own rule (XID_Start, XID_Continue) is stricter. A name that
 * only Python refuses can't be imported, so it does no harm in a set. */
static const struct {
    uint32_t first, last;
} never_in_names[] = {
    {0x0080, 0x00A9}, {0x061C, 0x061C}, {0x1680, 0x1680}, {0x180E, 0x180E},   {0x2000, 0x203E},
    {0x2041, 0x2053}, {0x2055, 0x2070}, {0x2190, 0x2BFF}, {0x2E00, 0x2E2E},   {0x2E30, 0x3004},
    {0xE000, 0xF8FF}, {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFF}, {0xE0000, 0xE00FF}, {0xF0000, 0x10FFFF},
};

static uint32_t decode(const unsigned char *bytes, size_t length)
{
    static const unsigned char lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t point = bytes[0] & lead_bits[length];
    for (size_t i = 1; i < length; i++)
        point = point << 6 | (bytes[i] & 0x3FU);
    return point;
}

static bool ascii_in_name(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

static bool valid_identifier(const char *text, size_t length)
{
    if (!length || length > PX_FIELD_NAME_MAX)
        return false;
    for (size_t i = 0; i < length;) {
        const unsigned char *bytes = (const unsigned char *)text + i;
        if (*bytes < 0x80) {
            if (!ascii_in_name(text[i], i == 0))
                return false;
            i++;
            continue;
        }
        size_t step = px_utf8_sequence(bytes, length - i);
        if (!step)
            return false;
        uint32_t point = decode(bytes, step);
        for (size_t r = 0; r < PX_COUNT(never_in_names); r++)
            if (point >= never_in_names[r].first && point <= never_in_names[r].last)
                return false;
        i += step;
    }
    return true;
}

static bool valid_module(const char *text, size_t length)
{
    if (length > PX_FIELD_NAME_MAX)
        return false;
    for (;;) {
        const char *dot = memchr(text, '.', length);
        size_t part = dot ? (size_t)(dot - text) : length;
        if (!valid_identifier(text, part))
            return false;
        if (!dot)
            return true;
        text += part + 1;
        length -= part + 1;
    }
}

static bool valid_text(const char *text, size_t length)
{
    if (!length || length > PX_STRING_MAX || !px_utf8_valid(text, length, NULL))
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return false;
    return true;
}

static bool valid_path(const char *text, size_t length)
{
    return valid_text(text, length) && text[0] == '/' && length < PX_STRING_MAX;
}

static bool equals(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

static bool valid_cgroup(const char *text, size_t length)
{
    return equals(text, length, "auto") || equals(text, length, "off") ||
           (valid_path(text, length) && !px_path_has_parent(text, length));
}

/* Reads a decimal number of at most `maximum` at the start of `text`. Returns its length, or 0. */
static size_t scan_number(const char *text, size_t length, uint64_t maximum, uint64_t *ret)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++) {
        value = value * 10 + (uint64_t)(text[i] - '0');
        if (value > maximum)
            return 0;
    }
    *ret = value;
    return i;
}

static bool scan_uid_range(const char *text, size_t length, uint32_t *ret_start, uint32_t *ret_count)
{
    uint64_t start, count;
    size_t at = scan_number(text, length, UINT32_MAX, &start);
    if (!at || at >= length || text[at] != ':')
        return false;
    at++;
    size_t rest = scan_number(text + at, length - at, UINT32_MAX, &count);
    /* UINT32_MAX is (uid_t)-1, which is not an id; 0 is root. */
    if (!rest || at + rest != length || !start || !count || start + count > UINT32_MAX)
        return false;
    *ret_start = (uint32_t)start;
    *ret_count = (uint32_t)count;
    return true;
}

static bool valid_uid_range(const char *text, size_t length)
{
    uint32_t start, count;
    return scan_uid_range(text, length, &start, &count);
}

bool px_host_uid_range(const char *text, uint32_t *ret_start, uint32_t *ret_count)
{
    return text && scan_uid_range(text, strlen(text), ret_start, ret_count);
}

static bool valid_layer(const char *text, size_t length)
{
    char name[64];
    if (!length || length >= sizeof name || memchr(text, 0, length))
        return false;
    memcpy(name, text, length);
    name[length] = '\0';
    return px_layers_find(name) != 0;
}

/* Accepts the name of a host, or the origin of a page. */
static bool valid_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7F)
            return false;
    return length > 0;
}

static bool valid_network(const char *text, size_t length)
{
    struct px_ip_network network;
    return px_ip_network_parse(text, length, &network);
}

static bool valid_environment(const char *text, size_t length)
{
    return !length || px_environment_name_valid(text, length);
}

static bool valid_environments(const char *text, size_t length)
{
    return equals(text, length, PX_ANY_ENVIRONMENT) || px_environment_name_valid(text, length);
}

static bool valid_log_format(const char *text, size_t length)
{
    return (length == 4 && (memcmp(text, "text", 4) == 0 || memcmp(text, "json", 4) == 0));
}

/* Accepts unix:/PATH, if the path fits into sun_path, or HOST:PORT, with an IPv6 address in brackets. */
static bool valid_address(const char *text, size_t length)
{
    static const char prefix[] = "unix:";
    const size_t prefix_length = sizeof prefix - 1, sun_path_max = 107;
    if (!valid_text(text, length))
        return false;
    if (length > prefix_length && memcmp(text, prefix, prefix_length) == 0)
        return text[prefix_length] == '/' && length - prefix_length <= sun_path_max;
    const char *colon = memrchr(text, ':', length);
    if (!colon || colon == text)
        return false;
    size_t host = (size_t)(colon - text), port_length = length - host - 1;
    uint64_t port;
    if (!port_length || scan_number(colon + 1, port_length, 65535, &port) != port_length)
        return false;
    if (text[0] == '[')
        return host > 2 && text[host - 1] == ']';
    return !memchr(text, ':', host) && !memchr(text, '/', host) && !memchr(text, ' ', host);
}

static bool valid_server(const char *text, size_t length)
{
    static const char http[] = "http://";
    size_t prefix = sizeof http - 1;
    if (length == strlen("default") && memcmp(text, "default", length) == 0)
        return true;
    if (length > 5 && memcmp(text, "unix:", 5) == 0)
        return valid_address(text, length);
    if (length <= prefix || memcmp(text, http, prefix) != 0)
        return false;
    length -= prefix + (text[length - 1] == '/');
    return valid_address(text + prefix, length);
}

/* Writes the entry in the only form in which it is kept: with its port only if that is not the default one. */
const char *px_field_host(const char *text, size_t length, char ret[PX_HOST_ENTRY_MAX + 3])
{
    struct px_host_entry entry;
    char port[8] = "";
    const char *why = px_host_entry_parse(text, length, &entry);
    if (why)
        return why;
    if (entry.wildcard && !strchr(entry.name, '.'))
        return "at least two labels must follow '*.', because all names of a top-level domain are too many";
    if (entry.port != PX_HOST_ENTRY_DEFAULT_PORT)
        snprintf(port, sizeof port, ":%u", entry.port);
    snprintf(ret, PX_HOST_ENTRY_MAX + 3, "%s%s%s", entry.wildcard ? "*." : "", entry.name, port);
    return NULL;
}

static bool valid_host(const char *text, size_t length)
{
    char entry[PX_HOST_ENTRY_MAX + 3];
    return !px_field_host(text, length, entry);
}

/* When a factor has several names, messages use the first one. */
static const struct px_unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0},
};

static const struct px_unit size_units[] = {
    {"", 1},         {"B", 1},         {"K", 1 << 10}, {"KB", 1 << 10}, {"KiB", 1 << 10}, {"M", 1 << 20},
    {"MB", 1 << 20}, {"MiB", 1 << 20}, {"G", 1 << 30}, {"GB", 1 << 30}, {"GiB", 1 << 30}, {NULL, 0},
};

#define LIST_FORM ", comma-separated (in JSON an array)"

static const char layers_accepted[] = "names of isolation layers" LIST_FORM ", out of"
#define PX_LAYER(constant, name, ...) " " name
#include "base/layers.def"
#undef PX_LAYER
                                      ", or " PX_TIER_CONTAINER " for the namespaces together";

const struct px_kind px_kind_string = {"string", PX_SHAPE_STRING, "a text that is not empty", NULL, NULL, valid_text};
const struct px_kind px_kind_duration = {
    "duration",
    PX_SHAPE_NUMBER,
    "a duration such as 500ms, 5s, 2m or 1h (an integer without a unit: seconds, in JSON milliseconds)",
    NULL,
    duration_units,
    NULL};
const struct px_kind px_kind_integer = {"integer", PX_SHAPE_NUMBER, "an integer", NULL, NULL, NULL};
const struct px_kind px_kind_size = {"size", PX_SHAPE_NUMBER, "bytes or an integer with K, M or G",
                                     NULL,   size_units,      NULL};
const struct px_kind px_kind_boolean = {"boolean", PX_SHAPE_BOOLEAN, "true or false", NULL, NULL, NULL};
const struct px_kind px_kind_names = {"names",
                                      PX_SHAPE_STRINGS,
                                      "top-level module names" LIST_FORM,
                                      "A module is named by its first part: os, not os.path; no wildcards.",
                                      NULL,
                                      valid_identifier};
const struct px_kind px_kind_list = {"list", PX_SHAPE_STRINGS, "module names" LIST_FORM, NULL, NULL, valid_module};
const struct px_kind px_kind_hosts = {
    "hosts",
    PX_SHAPE_STRINGS,
    "NAME, NAME:PORT, *.NAME and *.NAME:PORT" LIST_FORM,
    "Give names of hosts alone, such as api.example.com, *.example.com or api.example.com:8443.",
    NULL,
    valid_host};
const struct px_kind px_kind_layers = {
    "layers", PX_SHAPE_STRINGS, layers_accepted, "`pyexec doctor` says which layers hold here.", NULL, valid_layer};
const struct px_kind px_kind_uid_range = {"uid_range", PX_SHAPE_STRING, "START:COUNT, both above 0", NULL,
                                          NULL,        valid_uid_range};
const struct px_kind px_kind_cgroup = {
    "cgroup", PX_SHAPE_STRING, "auto, off or an absolute path without parent folders (..)", NULL, NULL, valid_cgroup};
const struct px_kind px_kind_path = {"path", PX_SHAPE_STRING, "an absolute path", NULL, NULL, valid_path};
const struct px_kind px_kind_addresses = {"addresses", PX_SHAPE_STRINGS, "unix:/PATH or HOST:PORT" LIST_FORM, NULL,
                                          NULL,        valid_address};
const struct px_kind px_kind_texts = {"texts", PX_SHAPE_STRINGS, "texts without spaces" LIST_FORM, NULL,
                                      NULL,    valid_token};
const struct px_kind px_kind_networks = {"networks",
                                         PX_SHAPE_STRINGS,
                                         "networks such as 10.1.0.0/16 or fd00::/8" LIST_FORM,
                                         "All bits after the length must be 0: 10.0.0.0/8, and not 10.1.2.3/8.",
                                         NULL,
                                         valid_network};
const struct px_kind px_kind_log_format = {"log_format", PX_SHAPE_STRING, "text or json", NULL, NULL, valid_log_format};
const struct px_kind px_kind_server = {"server", PX_SHAPE_STRING, "unix:/PATH, http://HOST:PORT or default", NULL,
                                       NULL,     valid_server};
const struct px_kind px_kind_environment = {
    "environment",
    PX_SHAPE_STRING,
    "the name of an environment (a-z, 0-9, '.', '_' and '-', at most 64), or empty",
    "`pyexec env list` shows the names.",
    NULL,
    valid_environment};
const struct px_kind px_kind_environments = {
    "environments", PX_SHAPE_STRINGS,  "names of environments, or *" LIST_FORM, "`pyexec env list` shows the names.",
    NULL,           valid_environments};
