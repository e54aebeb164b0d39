// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's heap framework, with its initcall under a name of our own: a
 * module has a single entry point.
 */
#include <linux/module.h>

#include "heaps.h"

#undef subsys_initcall
#define subsys_initcall(fn)		\
	int __init heaps_core_init(void)	\
	{					\
		return fn();			\
	}

#include "dma-heap.c"
