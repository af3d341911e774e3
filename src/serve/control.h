/* SPDX-License-Identifier: Apache-2.0 */
/* Control of a run by the client that waits for its events: `pyexec run --server` is such a client.
 *
 * With "control": true in its request, the first event is `control`, with a run_id. While the run lasts, the same
 * principal can interrupt it as Ctrl-C would, cancel it and still get its result, and send standard input as the client
 * itself gets it. Input goes into a socket whose other end is the script's input, and never waits: the answer says how
 * many bytes it took. */
#ifndef PX_SERVE_CONTROL_H
#define PX_SERVE_CONTROL_H

#include "base/json.h"
#include "pyexec.h"

struct px_control;
struct px_controls;
struct px_http_request;

/* Returns NULL when there is no memory. */
struct px_controls *px_controls_new(void);
/* All runs must have ended. */
void px_controls_free(struct px_controls *controls);

/* Takes `control` out of the body. *ret stays NULL if the client wants no control. Without `stdin` in the body, the
 * script's input is what the client sends. */
int px_control_take(struct px_http_request *request, json_t *body, pyexec_request *run, struct px_control **ret,
                    pyexec_error *error);

/* Sends the first event. The answer of the request must have begun. */
void px_control_say(struct px_control *control, struct px_http_request *request);

/* The run has ended, or was refused: nobody finds it any more. NULL does nothing. */
void px_control_end(struct px_control *control);

/* The routes. */
void px_control_route_interrupt(struct px_http_request *request);
void px_control_route_cancel(struct px_http_request *request);
void px_control_route_input(struct px_http_request *request);

#endif
