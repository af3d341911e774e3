/* SPDX-License-Identifier: Apache-2.0 */
/* Subjects in spans: without the names and ids in them. */
#ifndef PX_NATS_LINK_SUBJECT_TEMPLATE_H
#define PX_NATS_LINK_SUBJECT_TEMPLATE_H

#define PX_SUBJECT_TEMPLATE_SIZE 128

/* Replaces the principal, the session, the node and the request: pyexec.v1.node.{node}.s.{principal}.{session}. What is left of it that does not
 * fit is cut off. */
void px_subject_template(const char *subject, char ret[PX_SUBJECT_TEMPLATE_SIZE]);

#endif
