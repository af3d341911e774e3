/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/http_head.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#define CONNECTION_LONGEST 1024 /* bytes of the field Connection: a few names */

size_t px_http_head_length(const char *bytes, size_t length, size_t *scanned)
{
    const char *end = bytes + length, *at = bytes + (*scanned < length ? *scanned : length);
    for (const char *lf; at < end && (lf = memchr(at, '\n', (size_t)(end - at))); at = lf + 1) {
        size_t after = (size_t)(end - lf) - 1;
        *scanned = (size_t)(lf - bytes);
        if (after >= 1 && lf[1] == '\n')
            return (size_t)(lf - bytes) + 2;
        if (after >= 2 && lf[1] == '\r' && lf[2] == '\n')
            return (size_t)(lf - bytes) + 3;
        if (after < 2)
            return 0;
    }
    *scanned = length;
    return 0;
}

/* RFC 9110, 5.6.2. */
static bool is_token_byte(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

static size_t token_length(const char *bytes, size_t length)
{
    size_t i = 0;
    while (i < length && is_token_byte(bytes[i]))
        i++;
    return i;
}

static bool is_control(char byte)
{
    return ((unsigned char)byte < ' ' && byte != '\t') || byte == 0x7f;
}

/* Takes the next line, without its CR and LF, from the bytes. */
static const char *take_line(struct px_http_text *rest, struct px_http_text *ret)
{
    const char *lf = memchr(rest->bytes, '\n', rest->length);
    if (!lf)
        return "a line has no end";
    size_t length = (size_t)(lf - rest->bytes);
    if (length == 0 || lf[-1] != '\r')
        return "a line ends with LF alone";
    *ret = (struct px_http_text){rest->bytes, length - 1};
    *rest = (struct px_http_text){lf + 1, rest->length - length - 1};
    for (size_t i = 0; i < ret->length; i++)
        if (is_control(ret->bytes[i]))
            return "a line has a control byte, for example CR or NUL";
    return NULL;
}

static const char *parse_field(struct px_http_text line, struct px_http_field *ret)
{
    size_t name = token_length(line.bytes, line.length);
    if (line.bytes[0] == ' ' || line.bytes[0] == '\t')
        return "a field is folded over two lines";
    if (name == 0 || name == line.length || line.bytes[name] != ':')
        return "a field's name is not followed by a colon";
    ret->name = (struct px_http_text){line.bytes, name};
    size_t start = name + 1, end = line.length;
    while (start < end && (line.bytes[start] == ' ' || line.bytes[start] == '\t'))
        start++;
    while (end > start && (line.bytes[end - 1] == ' ' || line.bytes[end - 1] == '\t'))
        end--;
    ret->value = (struct px_http_text){line.bytes + start, end - start};
    return NULL;
}

static const char *parse_fields(struct px_http_text rest, struct px_http_head *ret)
{
    for (;;) {
        struct px_http_text line;
        const char *why = take_line(&rest, &line);
        if (why)
            return why;
        if (line.length == 0)
            return rest.length ? "an empty line is in the middle" : NULL;
        if (ret->count == PX_HTTP_FIELDS_MAX)
            return "it has too many fields";
        if ((why = parse_field(line, &ret->fields[ret->count])))
            return why;
        ret->count++;
    }
}

static bool parse_version(struct px_http_text text, int *ret_minor)
{
    bool good =
        text.length == 8 && memcmp(text.bytes, "HTTP/1.", 7) == 0 && (text.bytes[7] == '0' || text.bytes[7] == '1');
    *ret_minor = good ? text.bytes[7] - '0' : 0;
    return good;
}

static const char *parse_request_line(struct px_http_text line, struct px_http_head *ret)
{
    size_t method = token_length(line.bytes, line.length), end = line.length;
    if (method == 0 || method == end || line.bytes[method] != ' ')
        return "the first line is no request line of HTTP/1";
    size_t target = method + 1;
    while (target < end && line.bytes[target] > ' ')
        target++;
    ret->method = (struct px_http_text){line.bytes, method};
    ret->target = (struct px_http_text){line.bytes + method + 1, target - method - 1};
    if (ret->target.length == 0 || target == end || line.bytes[target] != ' ' ||
        !parse_version((struct px_http_text){line.bytes + target + 1, end - target - 1}, &ret->minor))
        return "the first line is no request line of HTTP/1.1 or HTTP/1.0";
    return NULL;
}

const char *px_http_request_begin(const char *bytes, size_t length, struct px_http_head *ret)
{
    struct px_http_text rest = {bytes, length}, line;
    if (!memchr(bytes, '\n', length))
        return NULL;
    const char *why = take_line(&rest, &line);
    return why ? why : parse_request_line(line, ret);
}

const char *px_http_request_parse(const char *bytes, size_t length, struct px_http_head *ret)
{
    struct px_http_text rest = {bytes, length}, line;
    ret->count = 0;
    ret->status = 0;
    const char *why = take_line(&rest, &line);
    if (!why)
        why = parse_request_line(line, ret);
    return why ? why : parse_fields(rest, ret);
}

const char *px_http_response_parse(const char *bytes, size_t length, struct px_http_head *ret)
{
    struct px_http_text rest = {bytes, length}, line;
    ret->count = 0;
    ret->method = ret->target = (struct px_http_text){NULL, 0};
    const char *why = take_line(&rest, &line);
    if (why)
        return why;
    if (line.length < 12 || !parse_version((struct px_http_text){line.bytes, 8}, &ret->minor) || line.bytes[8] != ' ' ||
        (line.length > 12 && line.bytes[12] != ' '))
        return "its first line is no status line of HTTP/1";
    ret->status = 0;
    for (int i = 9; i < 12; i++) {
        if (line.bytes[i] < '0' || line.bytes[i] > '9')
            return "its status is no number";
        ret->status = ret->status * 10 + line.bytes[i] - '0';
    }
    if (ret->status < 100 || ret->status > 999)
        return "its status is not from 100 to 999";
    ret->reason =
        line.length > 13 ? (struct px_http_text){line.bytes + 13, line.length - 13} : (struct px_http_text){"", 0};
    return parse_fields(rest, ret);
}

bool px_http_text_is(struct px_http_text text, const char *word)
{
    return strlen(word) == text.length && strncasecmp(text.bytes, word, text.length) == 0;
}

size_t px_http_field_count(const struct px_http_head *head, const char *name, struct px_http_text *ret)
{
    size_t found = 0;
    for (size_t i = 0; i < head->count; i++)
        if (px_http_text_is(head->fields[i].name, name)) {
            *ret = head->fields[i].value;
            found++;
        }
    return found;
}

static bool list_has(struct px_http_text list, struct px_http_text word)
{
    const char *at = list.bytes, *end = list.bytes + list.length;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;
        const char *last = stop;
        while (at < last && (*at == ' ' || *at == '\t'))
            at++;
        while (last > at && (last[-1] == ' ' || last[-1] == '\t'))
            last--;
        if ((size_t)(last - at) == word.length && strncasecmp(at, word.bytes, word.length) == 0)
            return true;
        at = comma ? comma + 1 : end;
    }
    return false;
}

bool px_http_list_has(const struct px_http_head *head, const char *name, struct px_http_text word)
{
    for (size_t i = 0; i < head->count; i++)
        if (px_http_text_is(head->fields[i].name, name) && list_has(head->fields[i].value, word))
            return true;
    return false;
}

bool px_http_field_is_hop(const struct px_http_head *head, const struct px_http_field *field)
{
    static const char *const names[] = {"connection", "proxy-connection",    "keep-alive",        "te",
                                        "upgrade",    "proxy-authorization", "proxy-authenticate"};
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (px_http_text_is(field->name, names[i]))
            return true;
    return px_http_list_has(head, "connection", field->name);
}

static bool parse_length(struct px_http_text text, uint64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9')
            return false;
        *ret = *ret * 10 + (uint64_t)(text.bytes[i] - '0');
    }
    return text.length > 0 && text.length <= 18;
}

/* Each field is looked up in this list, so a long one would cost the proxy much more time than the script that sends it. */
static size_t connection_bytes(const struct px_http_head *head)
{
    size_t bytes = 0;
    for (size_t i = 0; i < head->count; i++)
        if (px_http_text_is(head->fields[i].name, "connection"))
            bytes += head->fields[i].value.length;
    return bytes;
}

/* What both kinds of messages have in common. *ret_framing is PX_HTTP_NO_BODY where neither field is there. */
static const char *parse_framing(const struct px_http_head *head, enum px_http_framing *ret, uint64_t *ret_length)
{
    static const char *const about_length[] = {"content-length", "transfer-encoding", "host"};
    struct px_http_text length = {NULL, 0}, coding = {NULL, 0};
    size_t lengths = px_http_field_count(head, "content-length", &length);
    size_t codings = px_http_field_count(head, "transfer-encoding", &coding);
    *ret = PX_HTTP_NO_BODY;
    *ret_length = 0;
    if (connection_bytes(head) > CONNECTION_LONGEST)
        return "its field Connection is too long";
    for (size_t i = 0; i < PX_COUNT(about_length); i++)
        if (px_http_list_has(head, "connection", (struct px_http_text){about_length[i], strlen(about_length[i])}))
            return "Connection names a field that says where the message ends or for whom it is";
    if (lengths > 1)
        return "it has two fields Content-Length";
    if (codings > 1)
        return "it has two fields Transfer-Encoding";
    if (lengths && codings)
        return "it has both Content-Length and Transfer-Encoding";
    if (codings && (head->minor == 0 || !px_http_text_is(coding, "chunked")))
        return "its Transfer-Encoding is not chunked of HTTP/1.1";
    if (lengths && !parse_length(length, ret_length))
        return "its Content-Length is no number";
    if (codings || lengths)
        *ret = codings ? PX_HTTP_CHUNKED : PX_HTTP_LENGTH;
    return NULL;
}

const char *px_http_request_framing(const struct px_http_head *head, enum px_http_framing *ret, uint64_t *ret_length)
{
    return parse_framing(head, ret, ret_length);
}

const char *px_http_response_framing(const struct px_http_head *head, bool no_body, enum px_http_framing *ret,
                                     uint64_t *ret_length)
{
    const char *why = parse_framing(head, ret, ret_length);
    if (why)
        return why;
    /* RFC 9112, 6.3. */
    if (no_body || head->status < 200 || head->status == 204 || head->status == 304)
        *ret = PX_HTTP_NO_BODY;
    else if (*ret == PX_HTTP_NO_BODY)
        *ret = PX_HTTP_UNTIL_END;
    return NULL;
}
