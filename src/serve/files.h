/* The routes of a session's workspace: one file up, down or away, the list, and a tar archive of
 * all both ways. Bytes go through a block of fixed size, whatever the file's. */
#ifndef PX_SERVE_FILES_H
#define PX_SERVE_FILES_H

#include "pyexec.h"

struct px_request;

void px_files_list(struct px_request *request);
void px_files_get(struct px_request *request);
void px_files_put(struct px_request *request);
void px_files_delete(struct px_request *request);
void px_files_unpack(struct px_request *request);

/* Where a body goes: the file itself, or a temporary file for an archive. */
int px_files_open(struct px_request *request, pyexec_error *error);
int px_files_open_archive(struct px_request *request, pyexec_error *error);

#endif
