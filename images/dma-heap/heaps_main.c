// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA-BUF heaps for kernels that were built without CONFIG_DMABUF_HEAPS:
 * /dev/dma_heap/system and /dev/dma_heap/cma.
 *
 * There is no module_exit: the framework cannot remove a heap.
 */

#include <linux/module.h>
#include <linux/version.h>

#include "heaps.h"

#if IS_ENABLED(CONFIG_DMABUF_HEAPS)
#error "this kernel has heaps of its own"
#endif

static int __init heaps_init(void)
{
	int ret;

	ret = heaps_core_init();
	if (ret)
		return ret;

	/* From here on the module has to stay, with what it could register. */
	ret = heaps_system_init();
	if (ret)
		pr_err("no system heap: %d\n", ret);
	ret = heaps_contiguous_init();
	if (ret)
		pr_err("no cma heap: %d\n", ret);
	return 0;
}
module_init(heaps_init);

MODULE_DESCRIPTION("DMA-BUF heaps: system and cma");
MODULE_LICENSE("GPL");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif
