/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that the fuzz targets share. A target calls require() for each condition that must be true, and aborts if one is not. */
#ifndef PX_FUZZ_FUZZ_H
#define PX_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "pyexec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool holds)
{
    if (!holds)
        abort();
}

/* Requires that the error has this code, a message and a hint, each one line of UTF-8. */
static inline void require_error(const pyexec_error *error, pyexec_code code)
{
    require(error->code == code);
    require(error->message[0] && error->hint[0]);
    require(px_utf8_valid(error->message, strlen(error->message), NULL));
    require(px_utf8_valid(error->hint, strlen(error->hint), NULL));
    require(!strpbrk(error->message, "\n\r\x1B"));
}

/* tool_calls.c: calls each tool of the request once; makes a call that belongs to no run; returns how many calls are not freed. */
pyexec_tool_call *fuzz_call_new(void);
void fuzz_call_tools(pyexec_request *request);
size_t fuzz_calls_held(void);

#endif
