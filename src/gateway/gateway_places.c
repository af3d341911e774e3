/* SPDX-License-Identifier: Apache-2.0 */
/* Which node has a session, or a tool call that waits. A hash table without chains: a new entry replaces an older one with the same
 * place. What is replaced is only found again with one more question, so the table has a fixed size and no order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "gateway/gateway.h"

#define PLACES (1u << 17)
#define PLACE_ID_MAX 128u

struct px_place {
    char node[PX_NODE_NAME_MAX + 1];
    char key[];
};

int px_places_init(struct px_places *places)
{
    pthread_mutex_init(&places->lock, NULL);
    places->rows = calloc(PLACES, sizeof(struct px_place *));
    return places->rows ? 0 : -1;
}

void px_places_done(struct px_places *places)
{
    for (size_t i = 0; places->rows && i < PLACES; i++)
        free(places->rows[i]);
    free(places->rows);
    pthread_mutex_destroy(&places->lock);
}

static void write_key(struct px_buffer *key, char kind, const char *principal, const char *id)
{
    px_buffer_printf(key, "%c/%s/%s", kind, principal, id);
}

static struct px_place **row_of(struct px_places *places, const struct px_buffer *key)
{
    return &places->rows[px_hash(px_buffer_shown(key), px_buffer_length(key)) % PLACES];
}

static bool is_of(const struct px_place *place, const struct px_buffer *key)
{
    return place && strcmp(place->key, px_buffer_shown(key)) == 0;
}

void px_places_keep(struct px_places *places, char kind, const char *principal, const char *id, const char *node)
{
    px_auto_buffer struct px_buffer key = {0};
    if (strlen(id) > PLACE_ID_MAX)
        return;
    write_key(&key, kind, principal, id);
    struct px_place *place = malloc(sizeof *place + key.length + 1);
    if (!place || !px_buffer_ok(&key) || strlen(node) >= sizeof place->node) {
        free(place);
        return;
    }
    strcpy(place->node, node);
    memcpy(place->key, px_buffer_string(&key), key.length + 1);
    pthread_mutex_lock(&places->lock);
    struct px_place **row = row_of(places, &key), *old = *row;
    *row = place;
    pthread_mutex_unlock(&places->lock);
    free(old);
}

bool px_places_find(struct px_places *places, char kind, const char *principal, const char *id,
                    char ret[PX_NODE_NAME_MAX + 1])
{
    px_auto_buffer struct px_buffer key = {0};
    write_key(&key, kind, principal, id);
    pthread_mutex_lock(&places->lock);
    const struct px_place *place = *row_of(places, &key);
    bool found = is_of(place, &key);
    if (found)
        strcpy(ret, place->node);
    pthread_mutex_unlock(&places->lock);
    return found;
}

void px_places_forget(struct px_places *places, char kind, const char *principal, const char *id)
{
    px_auto_buffer struct px_buffer key = {0};
    write_key(&key, kind, principal, id);
    pthread_mutex_lock(&places->lock);
    struct px_place **row = row_of(places, &key), *old = is_of(*row, &key) ? TAKE_PTR(*row) : NULL;
    pthread_mutex_unlock(&places->lock);
    free(old);
}
