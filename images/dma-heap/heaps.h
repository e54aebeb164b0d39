/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DMA-BUF heaps for kernels that were built without them.
 */
#ifndef LAB_HEAPS_H
#define LAB_HEAPS_H

int heaps_core_init(void);
int heaps_system_init(void);
int heaps_contiguous_init(void);

#endif
