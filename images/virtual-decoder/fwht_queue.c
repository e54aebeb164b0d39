// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffer queues and decoder commands of the virtual FWHT decoder.
 */

#include <linux/videodev2.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-v4l2.h>

#include "fwht_compat.h"
#include "fwht_decoder.h"

/* Whether every memory plane has room for its part of a picture. */
bool fwht_buffer_fits(struct vb2_buffer *vb, const struct fwht_layout *layout)
{
	unsigned int i;

	if (vb->num_planes != layout->num_planes)
		return false;
	for (i = 0; i < layout->num_planes; i++)
		if (vb2_plane_size(vb, i) < layout->sizeimage[i])
			return false;
	return true;
}

static int fwht_queue_setup(struct vb2_queue *q, unsigned int *num_buffers,
			    unsigned int *num_planes, unsigned int sizes[],
			    struct device *alloc_devs[])
{
	struct fwht_context *ctx = vb2_get_drv_priv(q);
	struct fwht_layout layout = { .num_planes = 1 };
	unsigned int i;

	mutex_lock(&ctx->state_lock);
	if (V4L2_TYPE_IS_OUTPUT(q->type))
		layout.sizeimage[0] = ctx->output_size;
	else
		fwht_capture_layout(ctx, &ctx->geometry, &layout);
	mutex_unlock(&ctx->state_lock);

	if (*num_planes && *num_planes != layout.num_planes)
		return -EINVAL;
	/* VIDIOC_CREATE_BUFS, which has planes, adds as many as it says. */
	if (V4L2_TYPE_IS_CAPTURE(q->type) && !*num_planes)
		*num_buffers = max(*num_buffers, ctx->dev->min_buffers);
	for (i = 0; i < layout.num_planes; i++) {
		if (!*num_planes)
			sizes[i] = layout.sizeimage[i];
		else if (sizes[i] < layout.sizeimage[i])
			return -EINVAL;
	}
	*num_planes = layout.num_planes;
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
	struct fwht_layout needed;
	unsigned int i;

	if (V4L2_TYPE_IS_OUTPUT(vb->vb2_queue->type))
		return 0;

	/*
	 * Between a source change and the restart of CAPTURE the client still
	 * queues buffers of the old size.
	 */
	mutex_lock(&ctx->state_lock);
	fwht_capture_layout(ctx,
			    ctx->capture_on ? &ctx->running : &ctx->geometry,
			    &needed);
	mutex_unlock(&ctx->state_lock);
	if (!fwht_buffer_fits(vb, &needed))
		return -EINVAL;
	/* In case it is handed back empty by the mem2mem framework */
	for (i = 0; i < vb->num_planes; i++)
		vb2_set_plane_payload(vb, i, 0);
	return 0;
}

static void fwht_buf_queue(struct vb2_buffer *vb)
{
	struct fwht_context *ctx = vb2_get_drv_priv(vb->vb2_queue);
	struct vb2_v4l2_buffer *buf = to_vb2_v4l2_buffer(vb);

	/* videobuf2 takes it over when a client queues what it has dequeued. */
	buf->flags &= ~V4L2_BUF_FLAG_LAST;

	mutex_lock(&ctx->state_lock);
	v4l2_m2m_buf_queue(ctx->fh.m2m_ctx, buf);
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
			fwht_signal_eos(ctx);
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
	FWHT_VB2_WAIT_OPS
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
	bool multiplanar = ctx->dev->multiplanar;
	int ret;

	ret = fwht_init_one_queue(ctx, output, multiplanar ?
				  V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE :
				  V4L2_BUF_TYPE_VIDEO_OUTPUT);
	if (ret)
		return ret;
	return fwht_init_one_queue(ctx, capture, multiplanar ?
				   V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE :
				   V4L2_BUF_TYPE_VIDEO_CAPTURE);
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
			fwht_signal_eos(ctx);
	}
	mutex_unlock(&ctx->state_lock);

	if (!ret && start)
		v4l2_m2m_try_schedule(m2m);
	return ret;
}

/* Stop both queues; no job can be started until the client starts them. */
void fwht_queue_stop(struct fwht_context *ctx)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	v4l2_m2m_streamoff(NULL, m2m, v4l2_m2m_get_src_vq(m2m)->type);
	v4l2_m2m_streamoff(NULL, m2m, v4l2_m2m_get_dst_vq(m2m)->type);
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

	fwht_queue_stop(ctx);
	vb2_queue_release(output);
	vb2_queue_release(capture);
}
