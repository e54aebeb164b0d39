// SPDX-License-Identifier: GPL-2.0-only
/*
 * FWHT frames: check a header, decode a payload, lay the picture out.
 *
 * The kernel's codec (codec-fwht.c) bounds its reads of compressed planes and
 * of raw planes by the size that it is told, and its writes by the width,
 * height and stride that it is told; it believes all of them. So everything
 * that comes from the stream is checked here first, on a private copy that the
 * client cannot change any more.
 */

#include <linux/errno.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/videodev2.h>

#include "codec-fwht.h"
#include "fwht_stream.h"

/* One 8x8 block is at most a header and 64 coefficients of 16 bits each. */
#define FWHT_MAX_BLOCK_BYTES	((1 + 64) * 2)
/* What lies beside a picture means nothing, and does not look as if it did. */
#define FWHT_PADDING		0xeb

void fwht_geometry_set(struct fwht_geometry *geometry, u32 width, u32 height)
{
	geometry->width = clamp(width, FWHT_MIN_SIZE, FWHT_MAX_WIDTH);
	geometry->height = clamp(height, FWHT_MIN_SIZE, FWHT_MAX_HEIGHT);
	geometry->coded_width = round_up(geometry->width, FWHT_ALIGN);
	geometry->coded_height = round_up(geometry->height, FWHT_ALIGN);
}

bool fwht_geometry_equal(const struct fwht_geometry *a,
			 const struct fwht_geometry *b)
{
	return a->width == b->width && a->height == b->height;
}

/* Bytes of a decoded 4:2:0 picture without padding. */
static size_t fwht_picture_size(const struct fwht_geometry *geometry)
{
	return geometry->coded_width * geometry->coded_height * 3 / 2;
}

static bool fwht_is_interleaved(u32 pixelformat)
{
	return pixelformat == V4L2_PIX_FMT_NV12 ||
	       pixelformat == V4L2_PIX_FMT_NV12M;
}

/**
 * fwht_layout_set() - how a picture lies in memory
 * @layout:	filled in
 * @geometry:	of the picture
 * @steps:	of the device
 * @pixelformat: one of those that struct fwht_layout names
 */
void fwht_layout_set(struct fwht_layout *layout,
		     const struct fwht_geometry *geometry,
		     const struct fwht_steps *steps, u32 pixelformat)
{
	u32 stride = round_up(geometry->coded_width, steps->stride);
	u32 rows = round_up(geometry->coded_height, steps->rows);
	u32 luma = stride * rows;

	*layout = (struct fwht_layout) {
		.pixelformat = pixelformat,
		.width = geometry->coded_width,
		.rows = rows,
		.stride = stride,
		.num_planes = 1,
		.bytesperline = { stride },
		.sizeimage = { luma + luma / 2 },
		.size = luma + luma / 2,
	};
	if (pixelformat == V4L2_PIX_FMT_NV12M) {
		layout->num_planes = 2;
		layout->bytesperline[1] = stride;
		layout->sizeimage[0] = luma;
		layout->sizeimage[1] = luma / 2;
	} else if (pixelformat == V4L2_PIX_FMT_YUV420M) {
		layout->num_planes = 3;
		layout->bytesperline[1] = stride / 2;
		layout->bytesperline[2] = stride / 2;
		layout->sizeimage[0] = luma;
		layout->sizeimage[1] = luma / 4;
		layout->sizeimage[2] = luma / 4;
	}
}

/* Bytes that the largest frame of this size can have; raw planes are smaller. */
size_t fwht_max_frame_size(const struct fwht_geometry *geometry)
{
	return sizeof(struct fwht_cframe_hdr) +
	       fwht_picture_size(geometry) / 64 * FWHT_MAX_BLOCK_BYTES;
}

static bool fwht_is_yuv420(u32 version, u32 flags)
{
	if (flags & (V4L2_FWHT_FL_CHROMA_FULL_WIDTH |
		     V4L2_FWHT_FL_CHROMA_FULL_HEIGHT))
		return false;
	/* Version 1 was YUV with three components and did not say so. */
	if (version < 2)
		return true;
	return (flags & V4L2_FWHT_FL_PIXENC_MSK) == V4L2_FWHT_FL_PIXENC_YUV &&
	       (flags & V4L2_FWHT_FL_COMPONENTS_NUM_MSK) >>
		       V4L2_FWHT_FL_COMPONENTS_NUM_OFFSET == 3 - 1;
}

/**
 * fwht_parse_header() - check a frame as far as its header goes
 * @frame:	header and payload
 * @len:	bytes in @frame
 * @info:	filled in on success
 *
 * Return: 0, -EBADMSG if this is no whole frame, -ERANGE if the picture is too
 * small or too large, -EOPNOTSUPP for another version or chroma subsampling.
 */
int fwht_parse_header(const void *frame, size_t len,
		      struct fwht_frame_info *info)
{
	struct fwht_cframe_hdr hdr;
	u32 version, width, height;

	if (len < sizeof(hdr))
		return -EBADMSG;
	memcpy(&hdr, frame, sizeof(hdr));

	if (hdr.magic1 != FWHT_MAGIC1 || hdr.magic2 != FWHT_MAGIC2)
		return -EBADMSG;
	if (be32_to_cpu(hdr.size) != len - sizeof(hdr))
		return -EBADMSG;

	version = be32_to_cpu(hdr.version);
	info->flags = be32_to_cpu(hdr.flags);
	if (!version || version > V4L2_FWHT_VERSION ||
	    !fwht_is_yuv420(version, info->flags))
		return -EOPNOTSUPP;

	width = be32_to_cpu(hdr.width);
	height = be32_to_cpu(hdr.height);
	if (width < FWHT_MIN_SIZE || width > FWHT_MAX_WIDTH ||
	    height < FWHT_MIN_SIZE || height > FWHT_MAX_HEIGHT)
		return -ERANGE;
	fwht_geometry_set(&info->geometry, width, height);

	if (len > fwht_max_frame_size(&info->geometry))
		return -EBADMSG;

	info->colorspace = be32_to_cpu(hdr.colorspace);
	info->xfer_func = be32_to_cpu(hdr.xfer_func);
	info->ycbcr_enc = be32_to_cpu(hdr.ycbcr_enc);
	info->quantization = be32_to_cpu(hdr.quantization);
	return 0;
}

/* The next frame has nothing before it, as at the start of a stream. */
void fwht_decoder_reset(struct fwht_decoder *decoder)
{
	decoder->has_reference = false;
	/* A hostile key frame may still hold blocks that add to the reference. */
	if (decoder->reference)
		memset(decoder->reference, 0,
		       fwht_picture_size(&decoder->geometry));
}

void fwht_decoder_free(struct fwht_decoder *decoder)
{
	kvfree(decoder->current_picture);
	kvfree(decoder->reference);
	memset(decoder, 0, sizeof(*decoder));
}

static int fwht_decoder_resize(struct fwht_decoder *decoder,
			       const struct fwht_geometry *geometry)
{
	size_t size = fwht_picture_size(geometry);

	if (decoder->reference &&
	    fwht_geometry_equal(&decoder->geometry, geometry))
		return 0;

	fwht_decoder_free(decoder);
	decoder->current_picture = kvzalloc(size, GFP_KERNEL);
	decoder->reference = kvzalloc(size, GFP_KERNEL);
	if (!decoder->current_picture || !decoder->reference) {
		fwht_decoder_free(decoder);
		return -ENOMEM;
	}
	decoder->geometry = *geometry;
	return 0;
}

/*
 * Pictures are kept with three separate planes whatever the client asked for:
 * the codec writes a raw chroma plane as if it were never interleaved.
 */
static void fwht_raw_frame_init(struct fwht_raw_frame *raw, u8 *picture,
				const struct fwht_geometry *geometry)
{
	size_t luma = geometry->coded_width * geometry->coded_height;

	*raw = (struct fwht_raw_frame) {
		.width_div = 2,
		.height_div = 2,
		.luma_alpha_step = 1,
		.chroma_step = 1,
		.components_num = 3,
		.buf = picture,
		.luma = picture,
		.cb = picture + luma,
		.cr = picture + luma + luma / 4,
	};
}

static u8 *fwht_pack_rows(u8 *out, const struct fwht_layout *layout,
			  const u8 *plane, u32 width, u32 rows, u32 div)
{
	u32 row;

	for (row = 0; row < rows; row++)
		memcpy(out + row * (layout->stride / div), plane + row * width,
		       width);
	return out + layout->stride / div * (layout->rows / div);
}

static void fwht_pack_pairs(u8 *out, const struct fwht_layout *layout,
			    const u8 *cb, const u8 *cr, u32 width, u32 rows)
{
	u32 row, i;

	for (row = 0; row < rows; row++, out += layout->stride) {
		for (i = 0; i < width; i++) {
			out[2 * i] = *cb++;
			out[2 * i + 1] = *cr++;
		}
	}
}

/* Memory planes lie one after another in @out. */
static void fwht_pack(u8 *out, const struct fwht_layout *layout,
		      const u8 *picture, const struct fwht_geometry *geometry)
{
	u32 width = geometry->coded_width, rows = geometry->coded_height;
	const u8 *cb = picture + width * rows;
	const u8 *cr = cb + width * rows / 4;

	memset(out, FWHT_PADDING, layout->size);
	out = fwht_pack_rows(out, layout, picture, width, rows, 1);
	if (fwht_is_interleaved(layout->pixelformat)) {
		fwht_pack_pairs(out, layout, cb, cr, width / 2, rows / 2);
		return;
	}
	out = fwht_pack_rows(out, layout, cb, width / 2, rows / 2, 2);
	fwht_pack_rows(out, layout, cr, width / 2, rows / 2, 2);
}

/**
 * fwht_decoder_decode() - decode one frame
 * @decoder:	its state; a frame that fails leaves the reference as it was
 * @frame:	header and payload
 * @len:	bytes in @frame
 * @info:	what fwht_parse_header() made of @frame
 * @layout:	of @info's geometry
 * @out:	room for its size
 *
 * Return: 0, -ENOMEM, -ENODATA for a frame that needs a reference when there
 * is none, -EBADMSG when the payload ends too early.
 */
int fwht_decoder_decode(struct fwht_decoder *decoder, const void *frame,
			size_t len, const struct fwht_frame_info *info,
			const struct fwht_layout *layout, u8 *out)
{
	const struct fwht_geometry *geometry = &info->geometry;
	u32 stride = geometry->coded_width;
	struct fwht_raw_frame dst, ref;
	struct fwht_cframe cf;
	int ret;

	ret = fwht_decoder_resize(decoder, geometry);
	if (ret)
		return ret;
	if (!decoder->has_reference && !(info->flags & V4L2_FWHT_FL_I_FRAME))
		return -ENODATA;

	cf.rlc_data = (__be16 *)(frame + sizeof(struct fwht_cframe_hdr));
	cf.size = len - sizeof(struct fwht_cframe_hdr);
	fwht_raw_frame_init(&dst, decoder->current_picture, geometry);
	fwht_raw_frame_init(&ref, decoder->reference, geometry);
	if (!fwht_decode_frame(&cf, info->flags, 3, geometry->width,
			       geometry->height, &ref, stride, stride / 2,
			       &dst, stride, stride / 2))
		return -EBADMSG;

	swap(decoder->current_picture, decoder->reference);
	decoder->has_reference = true;
	fwht_pack(out, layout, decoder->reference, geometry);
	return 0;
}
