// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffer queues and decode jobs of the virtual FWHT decoder.
 *
 * A job takes the first OUTPUT buffer. Without a known header it only looks at
 * the header, and needs no CAPTURE buffer; then it decodes one frame into one
 * CAPTURE buffer. A frame whose size is not the one that CAPTURE was set up for
 * stays in the queue until the client has followed the source change.
 */

#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/videodev2.h>
#include <media/v4l2-event.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-v4l2.h>

#include "fwht_decoder.h"

static const struct v4l2_event fwht_eos_event = { .type = V4L2_EVENT_EOS };

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

/*
 * Giving buffers back, under state_lock: a STOP command must find a buffer
 * either in the queue or already marked as the last one.
 */

static void fwht_copy_metadata(const struct vb2_v4l2_buffer *src,
			       struct vb2_v4l2_buffer *dst)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
	v4l2_m2m_buf_copy_metadata(src, dst);
#else
	v4l2_m2m_buf_copy_metadata(src, dst, false);
#endif
}

static void fwht_capture_done(struct fwht_context *ctx,
			      struct vb2_v4l2_buffer *dst, size_t payload,
			      enum vb2_buffer_state state)
{
	vb2_set_plane_payload(&dst->vb2_buf, 0, payload);
	dst->field = V4L2_FIELD_NONE;
	dst->sequence = ctx->capture_sequence++;
	v4l2_m2m_buf_done(dst, state);
}

/* The drain is at its end: hand out an empty buffer that says so. */
static void fwht_finish_drain(struct fwht_context *ctx)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *dst;

	if (!ctx->capture_on || !v4l2_m2m_dst_buf_is_last(m2m))
		return;
	dst = v4l2_m2m_dst_buf_remove(m2m);
	if (!dst)
		return;
	dst->flags |= V4L2_BUF_FLAG_LAST;
	fwht_capture_done(ctx, dst, 0, VB2_BUF_STATE_DONE);
	v4l2_m2m_mark_stopped(m2m);
	v4l2_event_queue_fh(&ctx->fh, &fwht_eos_event);
}

/*
 * The first OUTPUT buffer is finished. @dst is NULL when it was dropped while
 * CAPTURE was not streaming.
 */
static void fwht_frame_done(struct fwht_context *ctx,
			    struct vb2_v4l2_buffer *dst, size_t payload,
			    enum vb2_buffer_state state)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *src = v4l2_m2m_next_src_buf(m2m);
	bool last = v4l2_m2m_is_last_draining_src_buf(m2m, src);

	v4l2_m2m_src_buf_remove(m2m);
	ctx->bitstream_used = 0;
	src->sequence = ctx->output_sequence++;

	if (dst) {
		v4l2_m2m_dst_buf_remove(m2m);
		fwht_copy_metadata(src, dst);
		if (last)
			dst->flags |= V4L2_BUF_FLAG_LAST;
		fwht_capture_done(ctx, dst, payload, state);
	}
	v4l2_m2m_buf_done(src, state);

	if (!last)
		return;
	if (dst) {
		v4l2_m2m_mark_stopped(m2m);
		v4l2_event_queue_fh(&ctx->fh, &fwht_eos_event);
	} else {
		m2m->last_src_buf = NULL;
		m2m->next_buf_last = true;
	}
}

/*
 * Decoding
 */

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
		fwht_capture_done(ctx, dst, 0, VB2_BUF_STATE_DONE);
	}
	return true;
}

static int fwht_decode(struct fwht_context *ctx, struct vb2_v4l2_buffer *dst,
		       const struct fwht_frame_info *info)
{
	size_t size = fwht_picture_size(&info->geometry);
	int ret;

	/* A client may resume with buffers that are too small for the change. */
	if (vb2_plane_size(&dst->vb2_buf, 0) < size)
		return -EMSGSIZE;
	ret = fwht_reserve(&ctx->frame, &ctx->frame_size, size);
	if (ret)
		return ret;
	ret = fwht_decoder_decode(&ctx->decoder, ctx->bitstream,
				  ctx->bitstream_used, info, ctx->pixelformat,
				  ctx->frame);
	if (ret)
		return ret;
	ret = edu_dma_write(&ctx->dev->dma,
			    vb2_dma_contig_plane_dma_addr(&dst->vb2_buf, 0),
			    ctx->frame, size, &ctx->job_cancelled);
	if (ret)
		return ret;

	dst->flags &= ~(V4L2_BUF_FLAG_KEYFRAME | V4L2_BUF_FLAG_PFRAME);
	dst->flags |= info->flags & V4L2_FWHT_FL_I_FRAME ?
			      V4L2_BUF_FLAG_KEYFRAME :
			      V4L2_BUF_FLAG_PFRAME;
	return 0;
}

static void fwht_run_job(struct fwht_context *ctx)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *dst = NULL;
	struct fwht_frame_info info;
	bool wait = false;
	int ret;

	ret = fwht_fetch(ctx, v4l2_m2m_next_src_buf(m2m));
	if (!ret)
		ret = fwht_parse_header(ctx->bitstream, ctx->bitstream_used,
					&info);

	mutex_lock(&ctx->state_lock);
	if (ctx->capture_on) {
		/* CAPTURE may have been started since, without a buffer. */
		dst = v4l2_m2m_next_dst_buf(m2m);
		wait = !dst;
	}
	if (!ret && !wait)
		wait = fwht_check_source_change(ctx, &info);
	mutex_unlock(&ctx->state_lock);
	if (wait)
		return;

	if (!ret)
		ret = fwht_decode(ctx, dst, &info);
	if (ret)
		dev_dbg(&ctx->dev->pdev->dev, "frame %u failed: %d\n",
			ctx->output_sequence, ret);

	mutex_lock(&ctx->state_lock);
	fwht_frame_done(ctx, dst, ret ? 0 : fwht_picture_size(&info.geometry),
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
		return v4l2_m2m_num_dst_bufs_ready(ctx->fh.m2m_ctx) > 0;
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

/* Free what jobs have allocated; no job can be started any more. */
void fwht_job_exit(struct fwht_context *ctx)
{
	/* mem2mem waits for the job to finish, not for its function to return. */
	cancel_work_sync(&ctx->job);
	fwht_decoder_free(&ctx->decoder);
	kvfree(ctx->bitstream);
	kvfree(ctx->frame);
}

/*
 * videobuf2 operations
 */

static int fwht_queue_setup(struct vb2_queue *q, unsigned int *num_buffers,
			    unsigned int *num_planes, unsigned int sizes[],
			    struct device *alloc_devs[])
{
	struct fwht_context *ctx = vb2_get_drv_priv(q);
	unsigned int size;

	mutex_lock(&ctx->state_lock);
	size = V4L2_TYPE_IS_OUTPUT(q->type) ? ctx->output_size :
					      fwht_picture_size(&ctx->geometry);
	mutex_unlock(&ctx->state_lock);

	if (*num_planes)
		return sizes[0] < size ? -EINVAL : 0;
	*num_planes = 1;
	sizes[0] = size;
	return 0;
}

static int fwht_buf_out_validate(struct vb2_buffer *vb)
{
	to_vb2_v4l2_buffer(vb)->field = V4L2_FIELD_NONE;
	return 0;
}

static int fwht_buf_prepare(struct vb2_buffer *vb)
{
	struct fwht_context *ctx = vb2_get_drv_priv(vb->vb2_queue);
	size_t needed;

	if (V4L2_TYPE_IS_OUTPUT(vb->vb2_queue->type))
		return 0;

	/*
	 * Between a source change and the restart of CAPTURE the client still
	 * queues buffers of the old size.
	 */
	mutex_lock(&ctx->state_lock);
	needed = fwht_picture_size(ctx->capture_on ? &ctx->running :
						     &ctx->geometry);
	mutex_unlock(&ctx->state_lock);
	if (vb2_plane_size(vb, 0) < needed)
		return -EINVAL;
	/* In case it is handed back empty by the mem2mem framework */
	vb2_set_plane_payload(vb, 0, 0);
	return 0;
}

static void fwht_buf_queue(struct vb2_buffer *vb)
{
	struct fwht_context *ctx = vb2_get_drv_priv(vb->vb2_queue);

	mutex_lock(&ctx->state_lock);
	v4l2_m2m_buf_queue(ctx->fh.m2m_ctx, to_vb2_v4l2_buffer(vb));
	if (V4L2_TYPE_IS_CAPTURE(vb->vb2_queue->type))
		fwht_finish_drain(ctx);
	mutex_unlock(&ctx->state_lock);
}

static void fwht_start_output(struct fwht_context *ctx)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	ctx->header_seen = false;
	ctx->bitstream_used = 0;
	ctx->output_sequence = 0;
	fwht_decoder_reset(&ctx->decoder);
	/* Restarting OUTPUT after a drain is one of the ways to go on. */
	if (v4l2_m2m_has_stopped(m2m)) {
		v4l2_m2m_clear_state(m2m);
		vb2_clear_last_buffer_dequeued(v4l2_m2m_get_dst_vq(m2m));
	}
}

/* CAPTURE is set up for the stream as the client knows it now. */
static void fwht_start_capture(struct fwht_context *ctx)
{
	ctx->running = ctx->geometry;
	ctx->source_change = false;
	ctx->capture_on = true;
}

static int fwht_start_streaming(struct vb2_queue *q, unsigned int count)
{
	struct fwht_context *ctx = vb2_get_drv_priv(q);

	mutex_lock(&ctx->state_lock);
	v4l2_m2m_update_start_streaming_state(ctx->fh.m2m_ctx, q);
	if (V4L2_TYPE_IS_OUTPUT(q->type)) {
		fwht_start_output(ctx);
	} else {
		ctx->capture_sequence = 0;
		fwht_start_capture(ctx);
		fwht_finish_drain(ctx);
	}
	mutex_unlock(&ctx->state_lock);
	return 0;
}

static void fwht_return_buffers(struct vb2_queue *q)
{
	struct fwht_context *ctx = vb2_get_drv_priv(q);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *buf;

	for (;;) {
		buf = V4L2_TYPE_IS_OUTPUT(q->type) ?
			      v4l2_m2m_src_buf_remove(m2m) :
			      v4l2_m2m_dst_buf_remove(m2m);
		if (!buf)
			return;
		v4l2_m2m_buf_done(buf, VB2_BUF_STATE_ERROR);
	}
}

/* No job runs: mem2mem has cancelled it before it stops a queue. */
static void fwht_stop_streaming(struct vb2_queue *q)
{
	struct fwht_context *ctx = vb2_get_drv_priv(q);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	bool had_stopped;

	mutex_lock(&ctx->state_lock);
	had_stopped = v4l2_m2m_has_stopped(m2m);
	fwht_return_buffers(q);
	if (V4L2_TYPE_IS_OUTPUT(q->type)) {
		v4l2_m2m_update_stop_streaming_state(m2m, q);
		if (!had_stopped && v4l2_m2m_has_stopped(m2m))
			v4l2_event_queue_fh(&ctx->fh, &fwht_eos_event);
		/* A seek gives up a source change that nobody has followed. */
		ctx->source_change = false;
		ctx->header_seen = false;
		ctx->bitstream_used = 0;
	} else {
		ctx->capture_on = false;
		/* Following a source change must not lose a drain under way. */
		if (!ctx->source_change)
			v4l2_m2m_update_stop_streaming_state(m2m, q);
	}
	mutex_unlock(&ctx->state_lock);
}

static const struct vb2_ops fwht_vb2_ops = {
	.queue_setup = fwht_queue_setup,
	.buf_out_validate = fwht_buf_out_validate,
	.buf_prepare = fwht_buf_prepare,
	.buf_queue = fwht_buf_queue,
	.start_streaming = fwht_start_streaming,
	.stop_streaming = fwht_stop_streaming,
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
#endif
};

static int fwht_init_one_queue(struct fwht_context *ctx, struct vb2_queue *q,
			       u32 type)
{
	q->type = type;
	q->io_modes = VB2_MMAP | VB2_DMABUF;
	q->drv_priv = ctx;
	q->buf_struct_size = sizeof(struct v4l2_m2m_buffer);
	q->ops = &fwht_vb2_ops;
	q->mem_ops = &vb2_dma_contig_memops;
	q->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	q->lock = &ctx->dev->lock;
	q->dev = &ctx->dev->pdev->dev;
	return vb2_queue_init(q);
}

int fwht_queue_init(void *priv, struct vb2_queue *output,
		    struct vb2_queue *capture)
{
	struct fwht_context *ctx = priv;
	int ret;

	ret = fwht_init_one_queue(ctx, output, V4L2_BUF_TYPE_VIDEO_OUTPUT);
	if (ret)
		return ret;
	return fwht_init_one_queue(ctx, capture, V4L2_BUF_TYPE_VIDEO_CAPTURE);
}

/**
 * fwht_queue_command() - carry out V4L2_DEC_CMD_START or V4L2_DEC_CMD_STOP
 * @ctx:	whose queues
 * @file:	as in the ioctl
 * @priv:	as in the ioctl
 * @cmd:	checked
 *
 * Return: 0 or -EBUSY during a drain.
 */
int fwht_queue_command(struct fwht_context *ctx, struct file *file, void *priv,
		       struct v4l2_decoder_cmd *cmd)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_queue *capture = v4l2_m2m_get_dst_vq(m2m);
	bool start = cmd->cmd == V4L2_DEC_CMD_START;
	bool had_stopped;
	int ret = 0;

	/* Nothing to do, and the API wants that to succeed. */
	if (!vb2_is_streaming(v4l2_m2m_get_src_vq(m2m)))
		return 0;

	mutex_lock(&ctx->state_lock);
	had_stopped = v4l2_m2m_has_stopped(m2m);
	if (start && ctx->source_change && ctx->capture_on) {
		/* The client goes on with the buffers that it has. */
		fwht_start_capture(ctx);
		vb2_clear_last_buffer_dequeued(capture);
	} else {
		ret = v4l2_m2m_ioctl_decoder_cmd(file, priv, cmd);
		if (!ret && start)
			vb2_clear_last_buffer_dequeued(capture);
		if (!had_stopped && v4l2_m2m_has_stopped(m2m))
			v4l2_event_queue_fh(&ctx->fh, &fwht_eos_event);
	}
	mutex_unlock(&ctx->state_lock);

	if (!ret && start)
		v4l2_m2m_try_schedule(m2m);
	return ret;
}

/**
 * fwht_queue_disconnect() - give back all that the queues hold of the device
 * @ctx:	whose queues; no job runs, and dev->lock is held
 *
 * Wakes everybody who waits for a buffer. Memory that the client has mapped or
 * exported lives on until it is unmapped and closed.
 */
void fwht_queue_disconnect(struct fwht_context *ctx)
{
	struct vb2_queue *output = v4l2_m2m_get_src_vq(ctx->fh.m2m_ctx);
	struct vb2_queue *capture = v4l2_m2m_get_dst_vq(ctx->fh.m2m_ctx);

	vb2_queue_error(output);
	vb2_queue_error(capture);
	v4l2_m2m_streamoff(NULL, ctx->fh.m2m_ctx, V4L2_BUF_TYPE_VIDEO_OUTPUT);
	v4l2_m2m_streamoff(NULL, ctx->fh.m2m_ctx, V4L2_BUF_TYPE_VIDEO_CAPTURE);
	vb2_queue_release(output);
	vb2_queue_release(capture);
}
