/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BLOB_EXPORTER_H
#define BLOB_EXPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct blob_export - argument of BLOB_EXPORT
 * @offset:	in: of the range in the device's shared memory, whole pages
 * @size:	in: of the range, whole pages
 * @address:	out: guest-physical address of the range
 * @fd:		out: a dma-buf, O_RDWR | O_CLOEXEC
 * @pad:	zero
 */
struct blob_export {
	__u64 offset;
	__u64 size;
	__u64 address;
	__s32 fd;
	__u32 pad;
};

#define BLOB_EXPORT _IOWR('L', 0x00, struct blob_export)

#endif
