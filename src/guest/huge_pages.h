/* SPDX-License-Identifier: Apache-2.0 */
/* Huge pages where forks gain by them. A fork copies the page table of all memory, and one entry for a huge page takes
 * the place of 512. A child that writes to a huge page gets a copy of 4 KiB only (do_huge_pmd_wp_page() of the
 * kernel's mm/huge_memory.c). It matters in a zygote with much preloaded: with numpy and pandas, clones take a third less time. And
 * it matters in sessions that can be forked when their data is large. */
#ifndef PX_GUEST_HUGE_PAGES_H
#define PX_GUEST_HUGE_PAGES_H

#include <stdbool.h>

/* Called in the zygote when everything is loaded. `proc` is a descriptor of the host's /proc. Needs Linux 6.1; on
 * older kernels nothing happens. New memory of the zygote and of its children stays in small pages. */
void px_huge_pages_collapse_heap(int proc);

/* Called in a session that can be forked, before it has threads. Memory that asks for huge pages gets them from now on, and the
 * interpreter asks for them where its data is large. The memory of small sessions stays in small pages. `on_advice`: the host gives
 * huge pages only to memory that asks for them (admin-guide/mm/transhuge.rst). Otherwise Linux 6.18 is needed; on older
 * kernels nothing happens. */
void px_huge_pages_for_forks(bool on_advice);

#endif
