/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the route of a request, and what its path names. */
#ifndef PX_SERVE_ROUTE_H
#define PX_SERVE_ROUTE_H

#include "serve/http.h"

/* Sets request->route, session and rest. -1: no such path (`allowed` ""), or not with this method
 * (`allowed` names those that are). */
int px_route_find(struct px_http_request *request, char *allowed, size_t size);

/* Decodes the session's id and the file's path: what is encoded in them separates nothing. */
int px_route_decode(struct px_http_request *request);

/* The methods of the request's path, for the Allow header. */
const char *px_route_allow(struct px_http_request *request);

/* Checks the session's id and makes PRINCIPAL/ID of it. */
int px_route_session(struct px_http_request *request);

/* A problem+json object as text, for free(); and the HTTP status of an error. */
char *px_problem_json(int status, const char *code, const char *title, const char *hint);
int px_status_of(const pyexec_error *error);

#endif
