/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/client_hello.h"

#include <string.h>

#define RECORD_HEADER 5
#define RECORD_MAX 16384 /* RFC 8446, 5.1 */
#define MESSAGE_HEADER 4
#define CLIENT_HELLO 1
#define RANDOM_BYTES 34 /* version and random */
#define EXTENSION_NAME 0
#define NAME_IS_HOST 0

/* What is left of a part of the message. */
struct hello_part {
    const unsigned char *bytes;
    size_t length;
};

static size_t number_of(const unsigned char *bytes, size_t width)
{
    size_t number = 0;
    for (size_t i = 0; i < width; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* Takes a part whose length stands in front of it in `width` bytes. */
static bool take_part(struct hello_part *from, size_t width, struct hello_part *ret)
{
    if (from->length < width)
        return false;
    size_t length = number_of(from->bytes, width);
    if (from->length - width < length)
        return false;
    *ret = (struct hello_part){from->bytes + width, length};
    *from = (struct hello_part){ret->bytes + length, from->length - width - length};
    return true;
}

/* The list of names has exactly one (RFC 6066 defines one type). */
static enum px_client_hello parse_name(struct hello_part extension, char *name)
{
    struct hello_part list, text;
    if (!take_part(&extension, 2, &list) || extension.length || list.length < 1 || list.bytes[0] != NAME_IS_HOST)
        return PX_CLIENT_HELLO_BAD;
    list = (struct hello_part){list.bytes + 1, list.length - 1};
    if (!take_part(&list, 2, &text) || list.length ||
        px_host_name_parse((const char *)text.bytes, text.length, name) != NULL)
        return PX_CLIENT_HELLO_BAD;
    return PX_CLIENT_HELLO_NAME;
}

static enum px_client_hello parse_extensions(struct hello_part extensions, char *name)
{
    enum px_client_hello found = PX_CLIENT_HELLO_NO_NAME;
    while (extensions.length) {
        struct hello_part body;
        if (extensions.length < 2)
            return PX_CLIENT_HELLO_BAD;
        size_t type = number_of(extensions.bytes, 2);
        extensions = (struct hello_part){extensions.bytes + 2, extensions.length - 2};
        if (!take_part(&extensions, 2, &body))
            return PX_CLIENT_HELLO_BAD;
        if (type != EXTENSION_NAME)
            continue;
        /* A server could use the other one. */
        if (found != PX_CLIENT_HELLO_NO_NAME)
            return PX_CLIENT_HELLO_BAD;
        found = parse_name(body, name);
        if (found == PX_CLIENT_HELLO_BAD)
            return found;
    }
    return found;
}

static enum px_client_hello parse_message(struct hello_part message, char *name)
{
    struct hello_part session, ciphers, compressions, extensions;
    if (message.length < RANDOM_BYTES || message.bytes[0] != 3)
        return PX_CLIENT_HELLO_BAD;
    message = (struct hello_part){message.bytes + RANDOM_BYTES, message.length - RANDOM_BYTES};
    if (!take_part(&message, 1, &session) || !take_part(&message, 2, &ciphers) ||
        !take_part(&message, 1, &compressions))
        return PX_CLIENT_HELLO_BAD;
    if (message.length == 0)
        return PX_CLIENT_HELLO_NO_NAME;
    if (!take_part(&message, 2, &extensions) || message.length)
        return PX_CLIENT_HELLO_BAD;
    return parse_extensions(extensions, name);
}

/* Length of the whole message with its header, or 0 as long as that is not known. */
static size_t message_length(const unsigned char *message, size_t have)
{
    return have < MESSAGE_HEADER ? 0 : MESSAGE_HEADER + number_of(message + 1, 3);
}

/* Copies what the records have of the message, up to the record that completes it. Returns the number of bytes, or -1 if these are no
 * records of a handshake. *ret_announced: the same with the bytes of the last record that are still to come. */
static ptrdiff_t gather(const unsigned char *bytes, size_t length, unsigned char message[PX_CLIENT_HELLO_MAX],
                        size_t *ret_announced)
{
    size_t have = 0;
    *ret_announced = 0;
    for (size_t at = 0; at < length;) {
        size_t left = length - at, whole = message_length(message, have);
        if (whole && have >= whole)
            break;
        if (bytes[at] != PX_CLIENT_HELLO_RECORD || (left > 1 && bytes[at + 1] != 3))
            return -1;
        if (left < RECORD_HEADER)
            break;
        size_t record = number_of(bytes + at + 3, 2);
        size_t here = left - RECORD_HEADER < record ? left - RECORD_HEADER : record;
        if (record == 0 || record > RECORD_MAX || have + here > PX_CLIENT_HELLO_MAX)
            return -1;
        *ret_announced = have + record;
        memcpy(message + have, bytes + at + RECORD_HEADER, here);
        have += here;
        at += RECORD_HEADER + here;
    }
    return (ptrdiff_t)have;
}

enum px_client_hello px_client_hello_parse(const unsigned char *bytes, size_t length, char name[PX_HOST_NAME_MAX + 1])
{
    unsigned char message[PX_CLIENT_HELLO_MAX];
    size_t announced;
    ptrdiff_t gathered = gather(bytes, length, message, &announced);
    size_t have = gathered > 0 ? (size_t)gathered : 0, whole = message_length(message, have);
    /* Nothing follows the message in its record (RFC 8446, 5.1: a change of keys is at the end of a record). */
    if (gathered < 0 || (have > 0 && message[0] != CLIENT_HELLO) || whole > sizeof message ||
        (whole && announced > whole))
        return PX_CLIENT_HELLO_BAD;
    if (!whole || have < whole)
        return length < PX_CLIENT_HELLO_MAX ? PX_CLIENT_HELLO_MORE : PX_CLIENT_HELLO_BAD;
    return parse_message((struct hello_part){message + MESSAGE_HEADER, whole - MESSAGE_HEADER}, name);
}
