// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decode jobs of the virtual FWHT decoder.
 *
 * A job takes the first OUTPUT buffer. Without a known header it only looks at
 * the header, and needs no CAPTURE buffer; then it decodes one frame into one
 * CAPTURE buffer. A frame whose size is not the one that CAPTURE was set up for
 * stays in the queue until the client has followed the source change.
 *
 * With min_buffers above 1 the device does what decoders that reorder may do:
 * it waits for so many CAPTURE buffers before its first picture, and takes them
 * in another order than they came.
 */

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/videodev2.h>
#include <media/v4l2-event.h>
#include <media/videobuf2-dma-contig.h>

#include "fwht_compat.h"
#include "fwht_decoder.h"

static const struct v4l2_event fwht_source_change_event = {
	.type = V4L2_EVENT_SOURCE_CHANGE,
	.u.src_change.changes = V4L2_EVENT_SRC_CH_RESOLUTION,
};

/*
 * Reading the bitstream. The job works on a private copy, since the client may
 * write to a buffer that it has queued.
 */

static int fwht_reserve(u8 **buffer, size_t *size, size_t wanted)
{
	if (wanted <= *size)
		return 0;

	kvfree(*buffer);
	*size = 0;
	*buffer = kvmalloc(wanted, GFP_KERNEL);
	if (!*buffer)
		return -ENOMEM;
	*size = wanted;
	return 0;
}

static size_t fwht_largest_frame(void)
{
	struct fwht_geometry largest;

	fwht_geometry_set(&largest, FWHT_MAX_WIDTH, FWHT_MAX_HEIGHT);
	return fwht_max_frame_size(&largest);
}

/*
 * By default the CPU reads an OUTPUT buffer: edu's own buffer is out of the
 * CPU's reach, so a read by DMA would take as long as writing a picture of the
 * same size. It is the only way for an imported buffer without a CPU mapping.
 */
static int fwht_fetch(struct fwht_context *ctx, struct vb2_v4l2_buffer *src)
{
	struct vb2_buffer *vb = &src->vb2_buf;
	size_t len = min(vb2_get_plane_payload(vb, 0), vb2_plane_size(vb, 0));
	const void *vaddr = NULL;
	int ret;

	if (ctx->bitstream_used)
		return 0;
	if (!len || len > fwht_largest_frame())
		return -EBADMSG;
	ret = fwht_reserve(&ctx->bitstream, &ctx->bitstream_size, len);
	if (ret)
		return ret;

	if (!fwht_reads_bitstream_by_dma())
		vaddr = vb2_plane_vaddr(vb, 0);
	if (vaddr) {
		memcpy(ctx->bitstream, vaddr, len);
	} else {
		ret = edu_dma_read(&ctx->dev->dma, ctx->bitstream,
				   vb2_dma_contig_plane_dma_addr(vb, 0), len,
				   &ctx->job_cancelled);
		if (ret)
			return ret;
	}
	ctx->bitstream_used = len;
	return 0;
}

/* Since CAPTURE was started; it counts pictures from there. */
static unsigned int fwht_wanted_buffers(const struct fwht_context *ctx)
{
	return READ_ONCE(ctx->capture_sequence) ? 1 : ctx->dev->min_buffers;
}

/* Returns NULL where there are too few. The buffer stays in the queue. */
static struct vb2_v4l2_buffer *fwht_next_capture(struct fwht_context *ctx)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	if (v4l2_m2m_num_dst_bufs_ready(m2m) < fwht_wanted_buffers(ctx))
		return NULL;
	return ctx->dev->min_buffers > 1 ? v4l2_m2m_last_dst_buf(m2m) :
					   v4l2_m2m_next_dst_buf(m2m);
}

/*
 * Giving buffers back, under state_lock: a STOP command must find a buffer
 * either in the queue or already marked as the last one.
 */

void fwht_signal_eos(struct fwht_context *ctx)
{
	static const struct v4l2_event eos = { .type = V4L2_EVENT_EOS };

	v4l2_event_queue_fh(&ctx->fh, &eos);
}

/* @layout is NULL for a buffer without a picture. */
static void fwht_capture_done(struct fwht_context *ctx,
			      struct vb2_v4l2_buffer *dst,
			      const struct fwht_layout *layout,
			      enum vb2_buffer_state state)
{
	unsigned int i;

	for (i = 0; i < dst->vb2_buf.num_planes; i++)
		vb2_set_plane_payload(&dst->vb2_buf, i,
				      layout ? layout->sizeimage[i] : 0);
	dst->field = V4L2_FIELD_NONE;
	dst->sequence = ctx->capture_sequence++;
	v4l2_m2m_buf_done(dst, state);
}

/* The drain is at its end: hand out an empty buffer that says so. */
void fwht_finish_drain(struct fwht_context *ctx)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *dst;

	if (!ctx->capture_on || !v4l2_m2m_dst_buf_is_last(m2m))
		return;
	dst = v4l2_m2m_dst_buf_remove(m2m);
	if (!dst)
		return;
	dst->flags |= V4L2_BUF_FLAG_LAST;
	fwht_capture_done(ctx, dst, NULL, VB2_BUF_STATE_DONE);
	v4l2_m2m_mark_stopped(m2m);
	fwht_signal_eos(ctx);
}

/*
 * The first OUTPUT buffer is finished. @dst is NULL when it was dropped while
 * CAPTURE was not streaming.
 */
static void fwht_frame_done(struct fwht_context *ctx,
			    struct vb2_v4l2_buffer *dst,
			    const struct fwht_layout *layout,
			    enum vb2_buffer_state state)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *src = v4l2_m2m_next_src_buf(m2m);
	bool last = v4l2_m2m_is_last_draining_src_buf(m2m, src);

	v4l2_m2m_src_buf_remove(m2m);
	ctx->bitstream_used = 0;
	src->sequence = ctx->output_sequence++;

	if (dst) {
		v4l2_m2m_dst_buf_remove_by_buf(m2m, dst);
		fwht_copy_metadata(src, dst);
		if (last)
			dst->flags |= V4L2_BUF_FLAG_LAST;
		fwht_capture_done(ctx, dst, layout, state);
	}
	v4l2_m2m_buf_done(src, state);

	if (!last)
		return;
	if (dst) {
		v4l2_m2m_mark_stopped(m2m);
		fwht_signal_eos(ctx);
	} else {
		m2m->last_src_buf = NULL;
		m2m->next_buf_last = true;
	}
}

static void fwht_note_color(struct fwht_context *ctx,
			    const struct fwht_frame_info *info)
{
	ctx->color = (struct fwht_colorimetry) {
		.colorspace = info->colorspace,
		.xfer_func = info->xfer_func,
		.ycbcr_enc = info->ycbcr_enc,
		.quantization = info->quantization,
	};
	fwht_sanitize_colorimetry(&ctx->color);
}

/*
 * Compare the frame with what CAPTURE is set up for. Returns true if decoding
 * has to wait for the client.
 */
static bool fwht_check_source_change(struct fwht_context *ctx,
				     const struct fwht_frame_info *info)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *dst;

	ctx->geometry = info->geometry;
	fwht_note_color(ctx, info);
	ctx->header_seen = true;
	if (ctx->capture_on &&
	    fwht_geometry_equal(&ctx->running, &info->geometry))
		return false;

	ctx->source_change = true;
	v4l2_event_queue_fh(&ctx->fh, &fwht_source_change_event);
	if (ctx->capture_on) {
		dst = v4l2_m2m_dst_buf_remove(m2m);
		dst->flags |= V4L2_BUF_FLAG_LAST;
		fwht_capture_done(ctx, dst, NULL, VB2_BUF_STATE_DONE);
	}
	return true;
}

static int fwht_decode(struct fwht_context *ctx, struct vb2_v4l2_buffer *dst,
		       const struct fwht_frame_info *info,
		       const struct fwht_layout *layout)
{
	const u8 *plane;
	unsigned int i;
	int ret;

	/* A client may resume with buffers that are too small for the change. */
	if (!fwht_buffer_fits(&dst->vb2_buf, layout))
		return -EMSGSIZE;
	ret = fwht_reserve(&ctx->frame, &ctx->frame_size, layout->size);
	if (ret)
		return ret;
	ret = fwht_decoder_decode(&ctx->decoder, ctx->bitstream,
				  ctx->bitstream_used, info, layout,
				  ctx->frame);
	if (ret)
		return ret;
	plane = ctx->frame;
	for (i = 0; i < layout->num_planes; i++) {
		ret = edu_dma_write(&ctx->dev->dma,
				    vb2_dma_contig_plane_dma_addr(&dst->vb2_buf,
								  i),
				    plane, layout->sizeimage[i],
				    &ctx->job_cancelled);
		if (ret)
			return ret;
		plane += layout->sizeimage[i];
	}

	dst->flags &= ~(V4L2_BUF_FLAG_KEYFRAME | V4L2_BUF_FLAG_PFRAME);
	dst->flags |= info->flags & V4L2_FWHT_FL_I_FRAME ?
			      V4L2_BUF_FLAG_KEYFRAME :
			      V4L2_BUF_FLAG_PFRAME;
	return 0;
}

static void fwht_run_job(struct fwht_context *ctx)
{
	struct vb2_v4l2_buffer *dst = NULL;
	struct fwht_frame_info info;
	struct fwht_layout layout;
	bool wait = false;
	int ret;

	ret = fwht_fetch(ctx, v4l2_m2m_next_src_buf(ctx->fh.m2m_ctx));
	if (!ret)
		ret = fwht_parse_header(ctx->bitstream, ctx->bitstream_used,
					&info);

	mutex_lock(&ctx->state_lock);
	if (ctx->capture_on) {
		/* CAPTURE may have been started since, without buffers. */
		dst = fwht_next_capture(ctx);
		wait = !dst;
	}
	if (!ret && !wait)
		wait = fwht_check_source_change(ctx, &info);
	if (!ret)
		fwht_capture_layout(ctx, &info.geometry, &layout);
	mutex_unlock(&ctx->state_lock);
	if (wait)
		return;

	if (!ret)
		ret = fwht_decode(ctx, dst, &info, &layout);
	if (ret)
		dev_dbg(&ctx->dev->pdev->dev, "frame %u failed: %d\n",
			ctx->output_sequence, ret);

	mutex_lock(&ctx->state_lock);
	fwht_frame_done(ctx, dst, ret ? NULL : &layout,
			ret ? VB2_BUF_STATE_ERROR : VB2_BUF_STATE_DONE);
	mutex_unlock(&ctx->state_lock);
}

static void fwht_job_work(struct work_struct *work)
{
	struct fwht_context *ctx = container_of(work, struct fwht_context, job);

	fwht_run_job(ctx);
	v4l2_m2m_job_finish(ctx->dev->m2m, ctx->fh.m2m_ctx);
}

static void fwht_device_run(void *priv)
{
	struct fwht_context *ctx = priv;

	WRITE_ONCE(ctx->job_cancelled, false);
	queue_work(system_long_wq, &ctx->job);
}

/* Called with a spinlock held, so it cannot take state_lock. */
static int fwht_job_ready(void *priv)
{
	struct fwht_context *ctx = priv;

	if (READ_ONCE(ctx->source_change))
		return 0;
	if (READ_ONCE(ctx->capture_on))
		return v4l2_m2m_num_dst_bufs_ready(ctx->fh.m2m_ctx) >=
		       fwht_wanted_buffers(ctx);
	return !READ_ONCE(ctx->header_seen);
}

static void fwht_job_abort(void *priv)
{
	struct fwht_context *ctx = priv;

	WRITE_ONCE(ctx->job_cancelled, true);
}

const struct v4l2_m2m_ops fwht_m2m_ops = {
	.device_run = fwht_device_run,
	.job_ready = fwht_job_ready,
	.job_abort = fwht_job_abort,
};

void fwht_job_init(struct fwht_context *ctx)
{
	INIT_WORK(&ctx->job, fwht_job_work);
}

/*
 * Wait until the function of the last job has returned: mem2mem only waits for
 * it to be finished, and it looks at the mem2mem context after that.
 */
void fwht_job_flush(struct fwht_context *ctx)
{
	flush_work(&ctx->job);
}

/* Free what jobs have allocated; no job can be started any more. */
void fwht_job_exit(struct fwht_context *ctx)
{
	fwht_decoder_free(&ctx->decoder);
	kvfree(ctx->bitstream);
	kvfree(ctx->frame);
}
