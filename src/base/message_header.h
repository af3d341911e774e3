/* SPDX-License-Identifier: Apache-2.0 */
/* The header Pyexec-Message: what a worker says to its server about a message over NATS, for the message's span. */
#ifndef PX_BASE_MESSAGE_HEADER_H
#define PX_BASE_MESSAGE_HEADER_H

#include <stdbool.h>

#define PX_MESSAGE_HEADER "Pyexec-Message"
#define PX_MESSAGE_HEADER_SIZE 320 /* of its value, with the NUL */

struct px_message_header {
    long long arrived_ns, bytes;
    char node[65], destination[128]; /* the subject, without ids (px_subject_template()) */
    char queue[65];                  /* the queue group, or "" */
};

/* Writes the value. */
void px_message_header_format(const struct px_message_header *header, char ret[PX_MESSAGE_HEADER_SIZE]);
/* Returns false if it is not one. */
bool px_message_header_parse(const char *value, struct px_message_header *ret);

#endif
