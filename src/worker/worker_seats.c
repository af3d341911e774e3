/* SPDX-License-Identifier: Apache-2.0 */
/* Seats: what this node knows about the ids of sessions, in a hash table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/hash.h"
#include "worker/worker_seats.h"

char *px_seat_key(const char *principal, const char *session)
{
    px_auto_buffer struct px_buffer key = {0};
    px_base64url_encode(&key, principal, strlen(principal));
    px_buffer_add_byte(&key, '.');
    px_base64url_encode(&key, session, strlen(session));
    return px_buffer_take(&key);
}

static struct px_seat **bucket_of(struct px_worker *worker, const char *key)
{
    return &worker->seats->buckets[px_hash(key, strlen(key)) % PX_SEAT_BUCKETS];
}

struct px_seat *px_seat_find(struct px_worker *worker, const char *key)
{
    struct px_seat *seat = *bucket_of(worker, key);
    while (seat && strcmp(seat->key, key) != 0)
        seat = seat->next;
    return seat;
}

struct px_seat *px_seat_add(struct px_worker *worker, const char *principal, const char *session)
{
    struct px_seat *seat = calloc(1, sizeof *seat);
    if (!seat)
        return NULL;
    *seat = (struct px_seat){.worker = worker,
                             .key = px_seat_key(principal, session),
                             .principal = strdup(principal),
                             .session = strdup(session)};
    if (!seat->key || !seat->principal || !seat->session) {
        free(seat->key);
        free(seat->principal);
        free(seat->session);
        free(seat);
        return NULL;
    }
    struct px_seat **bucket = bucket_of(worker, seat->key);
    seat->next = *bucket;
    *bucket = seat;
    worker->seats->count++;
    return seat;
}

void px_seat_drop(struct px_seat *seat)
{
    struct px_seat **at = bucket_of(seat->worker, seat->key);
    while (*at != seat)
        at = &(*at)->next;
    *at = seat->next;
    seat->worker->seats->count--;
    free(seat->key);
    free(seat->principal);
    free(seat->session);
    free(seat->other);
    free(seat);
}

size_t px_seats_owned(const struct px_worker *worker)
{
    size_t owned = 0;
    for (size_t i = 0; i < PX_SEAT_BUCKETS; i++)
        for (const struct px_seat *seat = worker->seats->buckets[i]; seat; seat = seat->next)
            owned += seat->ours;
    return owned;
}

struct px_seat *px_seat_hold(struct px_seat *seat)
{
    seat->users++;
    return seat;
}

void px_seat_release(struct px_seat *seat)
{
    if (--seat->users)
        return;
    bool unused = seat->gone || seat->fresh;
    if (seat->ours && unused)
        px_entry_remove(seat->worker, PX_SESSIONS_BUCKET, seat->key, seat->revision);
    if (!seat->ours || unused)
        px_seat_drop(seat);
}

bool px_seat_ask_server(struct px_seat *seat, const char *method, void (*done)(struct px_node_request *request))
{
    struct px_node_request *request = px_node_request_new(seat->worker, NULL);
    px_auto_buffer struct px_buffer path = {0};
    if (!request)
        return false;
    strcpy(request->method, method);
    px_buffer_printf(&path, "/v1/sessions/%s", seat->session);
    request->path = px_buffer_take(&path);
    request->principal = strdup(seat->principal);
    request->session = strdup(seat->session);
    request->seated = true;
    request->done = done;
    if (!request->path || !request->principal || !request->session) {
        px_node_finish(request);
        return false;
    }
    px_node_begin(request);
    return true;
}

void px_seat_remove_waiting(struct px_seat *seat, struct px_node_request *request)
{
    for (struct px_node_request **at = &seat->first; *at; at = &(*at)->next_of_seat)
        if (*at == request) {
            *at = request->next_of_seat;
            if (!*at)
                seat->last = at;
            request->next_of_seat = NULL;
            seat->count--;
            return;
        }
}

struct px_node_request *px_seat_take_first(struct px_seat *seat)
{
    struct px_node_request *request = seat->first;
    if (request) {
        px_seat_remove_waiting(seat, request);
        px_seat_release(TAKE_PTR(request->seat));
    }
    return request;
}
