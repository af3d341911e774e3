/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the route of a request, and the session and file that its path names. */
#ifndef PX_SERVE_ROUTE_H
#define PX_SERVE_ROUTE_H

#include "serve/http.h"

/* Sets request->route, session and rest. Returns -1 when no route has this path (`allowed` is ""), or none with
 * this method (`allowed` names the methods that are possible). */
int px_route_find(struct px_http_request *request, char *allowed, size_t size);

/* Decodes the session's id and the file's path. It comes after the matching, so an encoded '/' does not separate
 * segments. */
int px_route_decode(struct px_http_request *request);

/* Returns the methods of the request's path, for the Allow header. */
const char *px_route_allow(struct px_http_request *request);

/* Checks the session's id and makes PRINCIPAL/ID from it. */
int px_route_session(struct px_http_request *request);

/* The first returns a problem+json object as text, which the caller frees; the second the HTTP status of an error. */
char *px_problem_json(int status, const char *code, const char *title, const char *hint);
int px_status_of(const pyexec_error *error);

#endif
