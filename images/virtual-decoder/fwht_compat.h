/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Media helpers whose form differs between the kernels in use (6.12 and 7.3).
 */
#ifndef FWHT_COMPAT_H
#define FWHT_COMPAT_H

#include <linux/fs.h>
#include <linux/version.h>
#include <media/v4l2-fh.h>
#include <media/v4l2-mem2mem.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)

static inline struct v4l2_fh *file_to_v4l2_fh(struct file *file)
{
	return file->private_data;
}

static inline void fwht_fh_add(struct v4l2_fh *fh, struct file *file)
{
	file->private_data = fh;
	v4l2_fh_add(fh);
}

static inline void fwht_fh_del(struct v4l2_fh *fh, struct file *file)
{
	v4l2_fh_del(fh);
}

#else

#define fwht_fh_add v4l2_fh_add
#define fwht_fh_del v4l2_fh_del

#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)

/* Leaves the frame type flags of the CAPTURE buffer alone, as 7.x does. */
#define fwht_copy_metadata(src, dst) \
	v4l2_m2m_buf_copy_metadata(src, dst, false)
/* Newer kernels drop the queue's lock by themselves while DQBUF sleeps. */
#define FWHT_VB2_WAIT_OPS			\
	.wait_prepare = vb2_ops_wait_prepare,	\
	.wait_finish = vb2_ops_wait_finish,

#else

#define fwht_copy_metadata v4l2_m2m_buf_copy_metadata
#define FWHT_VB2_WAIT_OPS

#endif

#endif
