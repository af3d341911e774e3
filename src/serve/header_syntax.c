/* SPDX-License-Identifier: Apache-2.0 */
/* Finds requests whose headers can be read in two ways (RFC 9112, sections 2.2, 5.1, 5.2 and 6.3). A proxy in
 * front of this server could read another request than this server does.
 *
 * libmicrohttpd before 0.9.77 accepts a bare CR or LF as the end of a line and joins folded lines, and does not
 * report that. But it parses in place: in its buffer it replaces the colon and each byte of a line end by NUL, and
 * it moves the value of a folded line elsewhere. So its buffer shows what was sent. Later versions refuse such
 * requests by MHD_OPTION_STRICT_FOR_CLIENT, and their buffer is not examined. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "serve/http.h"

#define TOKEN "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define LONGEST_GAP 16384 /* most bytes between a name and its value: the size of libmicrohttpd's buffer */

struct seen {
    unsigned lengths, chunked, other_codings, hosts;
    bool in_place; /* this libmicrohttpd parses as described above */
    bool malformed;
    const char *last; /* the last value, or the HTTP version */
};

static bool parses_in_place(void)
{
    unsigned major = 0, minor = 0, patch = 0;
    return sscanf(MHD_get_version(), "%u.%u.%u", &major, &minor, &patch) == 3 && major == 0 && minor == 9 && patch < 77;
}

/* True if the text ended with CR LF. Both are NUL now. */
static bool ends_in_crlf(const char *text)
{
    return text[strlen(text) + 1] == '\0';
}

/* True if an empty line follows the last header. When the body begins with NUL, a missing byte of this line can't
 * be seen here, but both readings of the request then have the same body. */
static bool ends_the_headers(const char *text)
{
    return memcmp(text + strlen(text), "\0\0\0", 4) == 0;
}

static bool lies_after(const char *name, const char *value)
{
    const char *after = name + strlen(name) + 1;
    return value >= after && value - after <= LONGEST_GAP && after + strspn(after, " \t") == value;
}

static enum MHD_Result see_header(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct seen *seen = closure;
    (void)kind;
    if (strcasecmp(name, "Content-Length") == 0)
        seen->lengths++;
    else if (strcasecmp(name, "Transfer-Encoding") == 0)
        ++*(value && strcasecmp(value, "chunked") == 0 ? &seen->chunked : &seen->other_codings);
    else if (strcasecmp(name, "Host") == 0)
        seen->hosts++;
    seen->malformed |= !*name || name[strspn(name, TOKEN)] || !value || strpbrk(value, "\r\n") ||
                       (seen->in_place && !(lies_after(name, value) && ends_in_crlf(value)));
    seen->last = value;
    return seen->malformed ? MHD_NO : MHD_YES;
}

bool px_syntax_is_ambiguous(struct MHD_Connection *connection, const char *version)
{
    struct seen seen = {.in_place = parses_in_place()};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, see_header, &seen);
    if (seen.lengths + seen.chunked > 1 || seen.other_codings || seen.hosts > 1 || seen.malformed)
        return true;
    if (!seen.in_place || strncmp(version, "HTTP/", 5) != 0)
        return false;
    return !ends_in_crlf(version) || !ends_the_headers(seen.last ? seen.last : version);
}
