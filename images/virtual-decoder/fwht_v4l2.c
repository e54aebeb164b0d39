// SPDX-License-Identifier: GPL-2.0-only
/*
 * Formats, ioctls and open files of the virtual FWHT decoder, as the kernel's
 * "Memory-to-Memory Stateful Video Decoder Interface" asks for them.
 */

#include <linux/array_size.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/videodev2.h>
#include <media/v4l2-common.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>

#include "fwht_compat.h"
#include "fwht_decoder.h"

#define FWHT_DEFAULT_WIDTH	176
#define FWHT_DEFAULT_HEIGHT	144
/* A client may ask for larger OUTPUT buffers, within reason. */
#define FWHT_MAX_OUTPUT_SIZE	SZ_2M

static const u32 fwht_capture_formats[] = {
	V4L2_PIX_FMT_NV12,
	V4L2_PIX_FMT_YUV420,
	/* From here on only with the multi-planar API */
	V4L2_PIX_FMT_NV12M,
	V4L2_PIX_FMT_YUV420M,
};
#define FWHT_FIRST_SPLIT_FORMAT	2

/* Those that the device offers, the first of which is its default. */
static const u32 *fwht_offered(const struct fwht_context *ctx)
{
	return ctx->dev->split_only ?
		       &fwht_capture_formats[FWHT_FIRST_SPLIT_FORMAT] :
		       fwht_capture_formats;
}

static unsigned int fwht_num_offered(const struct fwht_context *ctx)
{
	const u32 *end = &fwht_capture_formats[FWHT_FIRST_SPLIT_FORMAT];

	if (ctx->dev->multiplanar)
		end = fwht_capture_formats + ARRAY_SIZE(fwht_capture_formats);
	return end - fwht_offered(ctx);
}

static bool fwht_is_capture_format(const struct fwht_context *ctx,
				   u32 pixelformat)
{
	unsigned int i;

	for (i = 0; i < fwht_num_offered(ctx); i++)
		if (fwht_offered(ctx)[i] == pixelformat)
			return true;
	return false;
}

/* Both APIs' handlers are in one table, and only one of them is the device's. */
static bool fwht_speaks(const struct fwht_context *ctx, u32 type)
{
	return V4L2_TYPE_IS_MULTIPLANAR(type) == ctx->dev->multiplanar;
}

/* Replace what no enum knows: it comes from a stream or from a client. */
void fwht_sanitize_colorimetry(struct fwht_colorimetry *color)
{
	if (!v4l2_is_colorspace_valid(color->colorspace))
		color->colorspace = V4L2_COLORSPACE_REC709;
	if (!v4l2_is_xfer_func_valid(color->xfer_func))
		color->xfer_func = V4L2_XFER_FUNC_DEFAULT;
	if (!v4l2_is_ycbcr_enc_valid(color->ycbcr_enc))
		color->ycbcr_enc = V4L2_YCBCR_ENC_DEFAULT;
	if (!v4l2_is_quant_valid(color->quantization))
		color->quantization = V4L2_QUANTIZATION_DEFAULT;
}

static void fwht_fill_single(struct v4l2_pix_format *pix,
			     const struct fwht_layout *layout,
			     const struct fwht_colorimetry *color)
{
	pix->pixelformat = layout->pixelformat;
	pix->width = layout->width;
	pix->height = layout->rows;
	pix->field = V4L2_FIELD_NONE;
	pix->bytesperline = layout->bytesperline[0];
	pix->sizeimage = layout->sizeimage[0];
	pix->colorspace = color->colorspace;
	pix->xfer_func = color->xfer_func;
	pix->ycbcr_enc = color->ycbcr_enc;
	pix->quantization = color->quantization;
}

static void fwht_fill_multi(struct v4l2_pix_format_mplane *pix,
			    const struct fwht_layout *layout,
			    const struct fwht_colorimetry *color)
{
	unsigned int i;

	pix->pixelformat = layout->pixelformat;
	pix->width = layout->width;
	pix->height = layout->rows;
	pix->field = V4L2_FIELD_NONE;
	pix->flags = 0;
	pix->num_planes = layout->num_planes;
	memset(pix->plane_fmt, 0, sizeof(pix->plane_fmt));
	for (i = 0; i < layout->num_planes; i++) {
		pix->plane_fmt[i].bytesperline = layout->bytesperline[i];
		pix->plane_fmt[i].sizeimage = layout->sizeimage[i];
	}
	pix->colorspace = color->colorspace;
	pix->xfer_func = color->xfer_func;
	pix->ycbcr_enc = color->ycbcr_enc;
	pix->quantization = color->quantization;
	memset(pix->reserved, 0, sizeof(pix->reserved));
}

static void fwht_fill(struct v4l2_format *f, const struct fwht_layout *layout,
		      const struct fwht_colorimetry *color)
{
	if (V4L2_TYPE_IS_MULTIPLANAR(f->type))
		fwht_fill_multi(&f->fmt.pix_mp, layout, color);
	else
		fwht_fill_single(&f->fmt.pix, layout, color);
}

/**
 * fwht_capture_layout() - how the device lays out a picture
 * @ctx:	whose CAPTURE format; its state_lock is held
 * @geometry:	of the picture
 * @layout:	filled in
 */
void fwht_capture_layout(const struct fwht_context *ctx,
			 const struct fwht_geometry *geometry,
			 struct fwht_layout *layout)
{
	fwht_layout_set(layout, geometry, &ctx->dev->steps, ctx->pixelformat);
}

static void fwht_fill_output(struct v4l2_format *f,
			     const struct fwht_geometry *geometry, u32 size,
			     const struct fwht_colorimetry *color)
{
	struct fwht_layout coded = {
		.pixelformat = V4L2_PIX_FMT_FWHT,
		.width = geometry->coded_width,
		.rows = geometry->coded_height,
		.num_planes = 1,
		.sizeimage = { size },
	};

	fwht_fill(f, &coded, color);
}

static int fwht_querycap(struct file *file, void *priv,
			 struct v4l2_capability *cap)
{
	strscpy(cap->driver, FWHT_DRIVER_NAME, sizeof(cap->driver));
	strscpy(cap->card, FWHT_CARD_NAME, sizeof(cap->card));
	return 0;
}

static int fwht_enum_fmt_cap(struct file *file, void *priv,
			     struct v4l2_fmtdesc *f)
{
	const struct fwht_context *ctx = fwht_context_from_file(file);

	if (!fwht_speaks(ctx, f->type) ||
	    f->index >= fwht_num_offered(ctx))
		return -EINVAL;
	f->pixelformat = fwht_offered(ctx)[f->index];
	return 0;
}

static int fwht_enum_fmt_out(struct file *file, void *priv,
			     struct v4l2_fmtdesc *f)
{
	if (!fwht_speaks(fwht_context_from_file(file), f->type) || f->index)
		return -EINVAL;
	f->pixelformat = V4L2_PIX_FMT_FWHT;
	f->flags = V4L2_FMT_FLAG_DYN_RESOLUTION;
	return 0;
}

static int fwht_enum_framesizes(struct file *file, void *priv,
				struct v4l2_frmsizeenum *size)
{
	if (size->index)
		return -EINVAL;
	if (size->pixel_format != V4L2_PIX_FMT_FWHT &&
	    !fwht_is_capture_format(fwht_context_from_file(file),
				    size->pixel_format))
		return -EINVAL;

	size->type = V4L2_FRMSIZE_TYPE_STEPWISE;
	size->stepwise = (struct v4l2_frmsize_stepwise) {
		.min_width = FWHT_MIN_SIZE,
		.max_width = FWHT_MAX_WIDTH,
		.step_width = FWHT_ALIGN,
		.min_height = FWHT_MIN_SIZE,
		.max_height = FWHT_MAX_HEIGHT,
		.step_height = FWHT_ALIGN,
	};
	return 0;
}

static int fwht_g_fmt_cap(struct file *file, void *priv, struct v4l2_format *f)
{
	struct fwht_context *ctx = fwht_context_from_file(file);
	struct fwht_layout layout;

	if (!fwht_speaks(ctx, f->type))
		return -EINVAL;
	mutex_lock(&ctx->state_lock);
	fwht_capture_layout(ctx, &ctx->geometry, &layout);
	fwht_fill(f, &layout, &ctx->color);
	mutex_unlock(&ctx->state_lock);
	return 0;
}

static int fwht_g_fmt_out(struct file *file, void *priv, struct v4l2_format *f)
{
	struct fwht_context *ctx = fwht_context_from_file(file);

	if (!fwht_speaks(ctx, f->type))
		return -EINVAL;
	mutex_lock(&ctx->state_lock);
	fwht_fill_output(f, &ctx->geometry, ctx->output_size, &ctx->color);
	mutex_unlock(&ctx->state_lock);
	return 0;
}

static u32 fwht_pixelformat(const struct v4l2_format *f)
{
	return V4L2_TYPE_IS_MULTIPLANAR(f->type) ? f->fmt.pix_mp.pixelformat :
						   f->fmt.pix.pixelformat;
}

/* The stream dictates everything but the order of the samples. */
static int fwht_try_fmt_cap(struct file *file, void *priv,
			    struct v4l2_format *f)
{
	struct fwht_context *ctx = fwht_context_from_file(file);
	u32 pixelformat = fwht_pixelformat(f);
	struct fwht_layout layout;

	if (!fwht_speaks(ctx, f->type))
		return -EINVAL;
	if (!fwht_is_capture_format(ctx, pixelformat))
		pixelformat = fwht_offered(ctx)[0];

	mutex_lock(&ctx->state_lock);
	fwht_layout_set(&layout, &ctx->geometry, &ctx->dev->steps, pixelformat);
	fwht_fill(f, &layout, &ctx->color);
	mutex_unlock(&ctx->state_lock);
	return 0;
}

/* Returns the size of an OUTPUT buffer. */
static u32 fwht_adjust_output(struct v4l2_format *f,
			      struct fwht_geometry *geometry,
			      struct fwht_colorimetry *color)
{
	u32 width, height, size;

	if (V4L2_TYPE_IS_MULTIPLANAR(f->type)) {
		const struct v4l2_pix_format_mplane *pix = &f->fmt.pix_mp;

		width = pix->width;
		height = pix->height;
		size = pix->plane_fmt[0].sizeimage;
		*color = (struct fwht_colorimetry) {
			.colorspace = pix->colorspace,
			.xfer_func = pix->xfer_func,
			.ycbcr_enc = pix->ycbcr_enc,
			.quantization = pix->quantization,
		};
	} else {
		const struct v4l2_pix_format *pix = &f->fmt.pix;

		width = pix->width;
		height = pix->height;
		size = pix->sizeimage;
		*color = (struct fwht_colorimetry) {
			.colorspace = pix->colorspace,
			.xfer_func = pix->xfer_func,
			.ycbcr_enc = pix->ycbcr_enc,
			.quantization = pix->quantization,
		};
	}

	fwht_geometry_set(geometry, width, height);
	size = clamp_t(u32, size, fwht_max_frame_size(geometry),
		       FWHT_MAX_OUTPUT_SIZE);
	fwht_sanitize_colorimetry(color);
	fwht_fill_output(f, geometry, size, color);
	return size;
}

static int fwht_try_fmt_out(struct file *file, void *priv,
			    struct v4l2_format *f)
{
	struct fwht_geometry geometry;
	struct fwht_colorimetry color;

	if (!fwht_speaks(fwht_context_from_file(file), f->type))
		return -EINVAL;
	fwht_adjust_output(f, &geometry, &color);
	return 0;
}

static int fwht_s_fmt_cap(struct file *file, void *priv, struct v4l2_format *f)
{
	struct fwht_context *ctx = fwht_context_from_file(file);
	int ret;

	if (vb2_is_busy(v4l2_m2m_get_dst_vq(ctx->fh.m2m_ctx)))
		return -EBUSY;

	ret = fwht_try_fmt_cap(file, priv, f);
	if (ret)
		return ret;
	mutex_lock(&ctx->state_lock);
	ctx->pixelformat = fwht_pixelformat(f);
	mutex_unlock(&ctx->state_lock);
	return 0;
}

static int fwht_s_fmt_out(struct file *file, void *priv, struct v4l2_format *f)
{
	struct fwht_context *ctx = fwht_context_from_file(file);
	struct fwht_geometry geometry;
	struct fwht_colorimetry color;
	u32 size;

	if (!fwht_speaks(ctx, f->type))
		return -EINVAL;
	/* It would change the CAPTURE format as well. */
	if (vb2_is_busy(v4l2_m2m_get_src_vq(ctx->fh.m2m_ctx)) ||
	    vb2_is_busy(v4l2_m2m_get_dst_vq(ctx->fh.m2m_ctx)))
		return -EBUSY;

	size = fwht_adjust_output(f, &geometry, &color);
	mutex_lock(&ctx->state_lock);
	ctx->geometry = geometry;
	ctx->color = color;
	ctx->output_size = size;
	mutex_unlock(&ctx->state_lock);
	return 0;
}

static int fwht_g_selection(struct file *file, void *priv,
			    struct v4l2_selection *s)
{
	struct fwht_context *ctx = fwht_context_from_file(file);
	int ret = 0;

	if (s->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
		return -EINVAL;

	s->r.left = 0;
	s->r.top = 0;
	mutex_lock(&ctx->state_lock);
	switch (s->target) {
	case V4L2_SEL_TGT_CROP:
	case V4L2_SEL_TGT_CROP_DEFAULT:
	case V4L2_SEL_TGT_COMPOSE:
	case V4L2_SEL_TGT_COMPOSE_DEFAULT:
		s->r.width = ctx->geometry.width;
		s->r.height = ctx->geometry.height;
		break;
	case V4L2_SEL_TGT_CROP_BOUNDS:
	case V4L2_SEL_TGT_COMPOSE_BOUNDS:
	case V4L2_SEL_TGT_COMPOSE_PADDED:
		s->r.width = ctx->geometry.coded_width;
		s->r.height = ctx->geometry.coded_height;
		break;
	default:
		ret = -EINVAL;
	}
	mutex_unlock(&ctx->state_lock);
	return ret;
}

static int fwht_decoder_cmd(struct file *file, void *priv,
			    struct v4l2_decoder_cmd *cmd)
{
	int ret = v4l2_m2m_ioctl_try_decoder_cmd(file, priv, cmd);

	if (ret)
		return ret;
	return fwht_queue_command(fwht_context_from_file(file), file, priv,
				  cmd);
}

static int fwht_subscribe_event(struct v4l2_fh *fh,
				const struct v4l2_event_subscription *sub)
{
	switch (sub->type) {
	case V4L2_EVENT_EOS:
		return v4l2_event_subscribe(fh, sub, 2, NULL);
	case V4L2_EVENT_SOURCE_CHANGE:
		return v4l2_src_change_event_subscribe(fh, sub);
	default:
		return v4l2_ctrl_subscribe_event(fh, sub);
	}
}

const struct v4l2_ioctl_ops fwht_ioctl_ops = {
	.vidioc_querycap = fwht_querycap,

	.vidioc_enum_fmt_vid_cap = fwht_enum_fmt_cap,
	.vidioc_g_fmt_vid_cap = fwht_g_fmt_cap,
	.vidioc_g_fmt_vid_cap_mplane = fwht_g_fmt_cap,
	.vidioc_try_fmt_vid_cap = fwht_try_fmt_cap,
	.vidioc_try_fmt_vid_cap_mplane = fwht_try_fmt_cap,
	.vidioc_s_fmt_vid_cap = fwht_s_fmt_cap,
	.vidioc_s_fmt_vid_cap_mplane = fwht_s_fmt_cap,

	.vidioc_enum_fmt_vid_out = fwht_enum_fmt_out,
	.vidioc_g_fmt_vid_out = fwht_g_fmt_out,
	.vidioc_g_fmt_vid_out_mplane = fwht_g_fmt_out,
	.vidioc_try_fmt_vid_out = fwht_try_fmt_out,
	.vidioc_try_fmt_vid_out_mplane = fwht_try_fmt_out,
	.vidioc_s_fmt_vid_out = fwht_s_fmt_out,
	.vidioc_s_fmt_vid_out_mplane = fwht_s_fmt_out,

	.vidioc_enum_framesizes = fwht_enum_framesizes,
	.vidioc_g_selection = fwht_g_selection,

	.vidioc_reqbufs = v4l2_m2m_ioctl_reqbufs,
	.vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf,
	.vidioc_dqbuf = v4l2_m2m_ioctl_dqbuf,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf,
	.vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_remove_bufs = v4l2_m2m_ioctl_remove_bufs,
	.vidioc_expbuf = v4l2_m2m_ioctl_expbuf,
	.vidioc_streamon = v4l2_m2m_ioctl_streamon,
	.vidioc_streamoff = v4l2_m2m_ioctl_streamoff,

	.vidioc_try_decoder_cmd = v4l2_m2m_ioctl_try_decoder_cmd,
	.vidioc_decoder_cmd = fwht_decoder_cmd,

	.vidioc_subscribe_event = fwht_subscribe_event,
	.vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};

static void fwht_context_set_defaults(struct fwht_context *ctx)
{
	fwht_geometry_set(&ctx->geometry, FWHT_DEFAULT_WIDTH,
			  FWHT_DEFAULT_HEIGHT);
	ctx->pixelformat = fwht_offered(ctx)[0];
	ctx->output_size = fwht_max_frame_size(&ctx->geometry);
	fwht_sanitize_colorimetry(&ctx->color);
}

static int fwht_context_init_ctrls(struct fwht_context *ctx)
{
	struct v4l2_ctrl_handler *ctrls = &ctx->ctrls;
	unsigned int wanted = ctx->dev->min_buffers;

	v4l2_ctrl_handler_init(ctrls, 1);
	v4l2_ctrl_new_std(ctrls, NULL, V4L2_CID_MIN_BUFFERS_FOR_CAPTURE, wanted,
			  wanted, 1, wanted);
	if (ctrls->error) {
		int ret = ctrls->error;

		v4l2_ctrl_handler_free(ctrls);
		return ret;
	}
	ctx->fh.ctrl_handler = ctrls;
	return 0;
}

static int fwht_context_init_m2m(struct fwht_context *ctx)
{
	struct v4l2_m2m_ctx *m2m;

	m2m = v4l2_m2m_ctx_init(ctx->dev->m2m, ctx, fwht_queue_init);
	if (IS_ERR(m2m))
		return PTR_ERR(m2m);
	/* Headers are looked at before the client can set CAPTURE up. */
	m2m->ignore_cap_streaming = true;
	v4l2_m2m_set_dst_buffered(m2m, true);
	ctx->fh.m2m_ctx = m2m;
	return 0;
}

static int fwht_open(struct file *file)
{
	struct fwht_device *dev = video_drvdata(file);
	struct fwht_context *ctx;
	int ret;

	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);
	if (!ctx)
		return -ENOMEM;
	ctx->dev = dev;
	mutex_init(&ctx->state_lock);
	fwht_job_init(ctx);
	fwht_context_set_defaults(ctx);
	v4l2_fh_init(&ctx->fh, &dev->vdev);

	ret = fwht_context_init_ctrls(ctx);
	if (ret)
		goto free_ctx;
	ret = fwht_context_init_m2m(ctx);
	if (ret)
		goto free_ctrls;

	fwht_fh_add(&ctx->fh, file);
	mutex_lock(&dev->lock);
	list_add_tail(&ctx->entry, &dev->contexts);
	mutex_unlock(&dev->lock);
	return 0;

free_ctrls:
	v4l2_ctrl_handler_free(&ctx->ctrls);
free_ctx:
	v4l2_fh_exit(&ctx->fh);
	mutex_destroy(&ctx->state_lock);
	kfree(ctx);
	return ret;
}

static int fwht_release(struct file *file)
{
	struct fwht_context *ctx = fwht_context_from_file(file);
	struct fwht_device *dev = ctx->dev;

	mutex_lock(&dev->lock);
	list_del(&ctx->entry);
	fwht_queue_stop(ctx);
	fwht_job_flush(ctx);
	v4l2_m2m_ctx_release(ctx->fh.m2m_ctx);
	mutex_unlock(&dev->lock);

	fwht_fh_del(&ctx->fh, file);
	v4l2_fh_exit(&ctx->fh);
	v4l2_ctrl_handler_free(&ctx->ctrls);
	fwht_job_exit(ctx);
	mutex_destroy(&ctx->state_lock);
	kfree(ctx);
	return 0;
}

const struct v4l2_file_operations fwht_fops = {
	.owner = THIS_MODULE,
	.open = fwht_open,
	.release = fwht_release,
	.poll = v4l2_m2m_fop_poll,
	.unlocked_ioctl = video_ioctl2,
	.mmap = v4l2_m2m_fop_mmap,
};
