/* SPDX-License-Identifier: Apache-2.0 */
/* Free blocks between the objects of a zygote. A child that puts its own objects there copies a page for each of
 * them. So the zygote fills these holes, and the new objects of its children lie side by side in few pages. */
#ifndef PX_GUEST_HOLES_H
#define PX_GUEST_HOLES_H

/* Called in the zygote. The memory that fills the holes is never freed. */
void px_holes_fill(void);

#endif
