/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of a session's workspace: one file up, down or away, the list, and a tar archive of
 * all both ways. Bytes go through a block of fixed size, whatever the file's. */
#ifndef PX_SERVE_FILE_ROUTES_H
#define PX_SERVE_FILE_ROUTES_H

#include "pyexec.h"

struct px_http_request;

void px_file_routes_list(struct px_http_request *request);
void px_file_routes_get(struct px_http_request *request);
void px_file_routes_put(struct px_http_request *request);
void px_file_routes_delete(struct px_http_request *request);
void px_file_routes_unpack(struct px_http_request *request);

/* Answers with the file's bytes, or the range of them that is asked for. */
void px_file_routes_send(struct px_http_request *request, const char *path,
                         void (*answer_error)(struct px_http_request *request, const pyexec_error *error));

void px_file_routes_answer_error(struct px_http_request *request, const pyexec_error *error);

/* Removes what was sent of a file that did not come whole. */
void px_file_routes_abandon(struct px_http_request *request);

/* Where a body goes: a file of the workspace with a name of its own, which becomes the one that is
 * meant when it is whole; or a temporary file for an archive. */
int px_file_routes_open(struct px_http_request *request, pyexec_error *error);
int px_file_routes_open_archive(struct px_http_request *request, pyexec_error *error);

#endif
