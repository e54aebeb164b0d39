// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's "system" heap, with its initcall under a name of our own: a
 * module has a single entry point.
 */
#include <linux/module.h>

#include "heaps.h"

#undef module_init
#define module_init(fn)			\
	int __init heaps_system_init(void)	\
	{					\
		return fn();			\
	}

#include "system_heap.c"
