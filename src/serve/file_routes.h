/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of a session's workspace: upload, download or delete one file, list the files, and upload or download
 * all of them as a tar archive. Bytes pass through a buffer of fixed size, however large the file is. */
#ifndef PX_SERVE_FILE_ROUTES_H
#define PX_SERVE_FILE_ROUTES_H

#include "pyexec.h"

struct px_http_request;

void px_file_routes_list(struct px_http_request *request);
void px_file_routes_get(struct px_http_request *request);
void px_file_routes_put(struct px_http_request *request);
void px_file_routes_delete(struct px_http_request *request);
void px_file_routes_unpack(struct px_http_request *request);

/* Answers with the file's bytes, or with the requested range of them. */
void px_file_routes_send(struct px_http_request *request, const char *path,
                         void (*answer_error)(struct px_http_request *request, const pyexec_error *error));

void px_file_routes_answer_error(struct px_http_request *request, const pyexec_error *error);

/* Deletes the part of a file that arrived before its upload was broken off. */
void px_file_routes_abandon(struct px_http_request *request);

/* Opens the target of a body: a file of the workspace with a temporary name, which is renamed when it is complete,
 * or a temporary file for an archive. */
int px_file_routes_open(struct px_http_request *request, pyexec_error *error);
int px_file_routes_open_archive(struct px_http_request *request, pyexec_error *error);

#endif
