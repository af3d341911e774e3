/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the Python code in a model's answer, by the rules of SandboxFusion's datasets. */
#ifndef PX_SERVE_CODE_BLOCKS_H
#define PX_SERVE_CODE_BLOCKS_H

#include "base/buffer.h"

/* Appends the code: of the blocks between ``` fences the first that is marked as Python, or else the first of all; else what comes
 * after a fence that is never closed; else the first function or class with the imports and comments directly before it, without
 * empty lines. Appends nothing if there is no code. */
void px_code_of_answer(struct px_buffer *out, const char *text);

#endif
