/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/secret_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/pages.h"
#include "base/retry.h"

/* Two more bytes are read, for a line end, and a third one shows that the value is too long. */
#define VALUE_BYTES (PX_EGRESS_SECRET_MAX + 3)

/* ---- Values ---- */

static char *new_pages(void)
{
    size_t size = (size_t)px_whole_pages(VALUE_BYTES, px_page_bytes());
    char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return NULL;
    (void)mlock(pages, size); /* RLIMIT_MEMLOCK may be too small */
    (void)madvise(pages, size, MADV_DONTDUMP);
    return pages;
}

static void free_pages(char *pages)
{
    if (!pages)
        return;
    size_t size = (size_t)px_whole_pages(VALUE_BYTES, px_page_bytes());
    explicit_bzero(pages, size);
    munmap(pages, size);
}

/* Reads straight into the pages, so that no other buffer has the value. One line end at the end belongs to the file. */
static const char *read_value(struct px_secret *secret, int file)
{
    size_t length = 0;
    for (ssize_t got = 1; got > 0 && length <= PX_EGRESS_SECRET_MAX + 2; length += (size_t)got) {
        got = px_read(file, secret->value + length, VALUE_BYTES - length);
        if (got < 0)
            return "its value can't be read";
    }
    if (length && secret->value[length - 1] == '\n')
        length--;
    if (length && secret->value[length - 1] == '\r')
        length--;
    if (length < PX_EGRESS_SECRET_MIN)
        return "its value is shorter than 8 bytes: it could not be told apart from other text in answers";
    if (length > PX_EGRESS_SECRET_MAX)
        return "its value is longer than 8000 bytes";
    for (size_t i = 0; i < length; i++)
        if (secret->value[i] < ' ' || secret->value[i] == 0x7f)
            return "its value has a byte that is not printable ASCII; a header can't carry it";
    secret->length = length;
    return NULL;
}

/* ---- Secrets ---- */

static void free_secret(struct px_secret *secret)
{
    free(secret->name);
    free(secret->header);
    free(secret->before);
    free(secret->after);
    free_pages(secret->value);
    SSL_CTX_free(secret->context);
    free(secret);
}

void px_secrets_free(struct px_secret *list)
{
    while (list) {
        struct px_secret *next = list->next;
        free_secret(list);
        list = next;
    }
}

const struct px_secret *px_secret_find(const struct px_secret *list, const char *name)
{
    while (list && strcmp(list->name, name) != 0)
        list = list->next;
    return list;
}

static char *copy_text(const json_t *packet, const char *key)
{
    const char *text = json_string_value(json_object_get(packet, key));
    return text ? strdup(text) : NULL;
}

static const char *fill(struct px_secret *secret, struct px_authority *authority, const json_t *packet, int value)
{
    const json_t *host = json_object_get(packet, "host");
    secret->name = copy_text(packet, "name");
    secret->header = copy_text(packet, "header");
    secret->before = copy_text(packet, "before");
    secret->after = copy_text(packet, "after");
    secret->value = new_pages();
    if (!secret->name || !secret->header || !secret->before || !secret->after || !secret->value ||
        !json_is_string(host))
        return "the packet is not complete, or there is no memory";
    if (px_host_entry_parse(json_string_value(host), json_string_length(host), &secret->host) || secret->host.wildcard)
        return "its host is no NAME[:PORT]";
    const char *why = read_value(secret, value);
    if (why)
        return why;
    secret->context = px_authority_host(authority, secret->host.name);
    return secret->context ? NULL : "no certificate can be made for its host";
}

const char *px_secret_add(struct px_secret **list, struct px_authority *authority, const json_t *packet, int value)
{
    struct px_secret *secret = calloc(1, sizeof *secret);
    const char *why = secret ? fill(secret, authority, packet, value) : "no memory";
    if (!why && px_secret_find(*list, secret->name))
        why = "it came twice";
    if (why) {
        if (secret)
            free_secret(secret);
        return why;
    }
    secret->next = *list;
    *list = secret;
    return NULL;
}

/* ---- Runs ---- */

void px_secret_uses_free(struct px_secret_use *uses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(uses[i].replacement);
    free(uses);
}

static char *make_replacement(const struct px_secret *secret, const char *placeholder)
{
    char *text = malloc(secret->length + 1);
    size_t length = strlen(placeholder) < secret->length ? strlen(placeholder) : secret->length;
    if (!text)
        return NULL;
    memset(text, '*', secret->length);
    memcpy(text, placeholder, length);
    text[secret->length] = '\0';
    return text;
}

const char *px_secret_uses_new(const struct px_secret *list, const json_t *secrets, struct px_secret_use **ret,
                               size_t *ret_count)
{
    size_t count = json_array_size(secrets);
    struct px_secret_use *uses = calloc(count ? count : 1, sizeof *uses);
    *ret = NULL;
    *ret_count = 0;
    if (!uses)
        return "no memory";
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(secrets, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *placeholder = json_string_value(json_object_get(one, "placeholder"));
        uses[i].secret = name ? px_secret_find(list, name) : NULL;
        uses[i].replacement = uses[i].secret && placeholder ? make_replacement(uses[i].secret, placeholder) : NULL;
        if (!uses[i].replacement) {
            px_secret_uses_free(uses, i);
            return "a run has a secret that is not known";
        }
    }
    *ret = uses;
    *ret_count = count;
    return NULL;
}
