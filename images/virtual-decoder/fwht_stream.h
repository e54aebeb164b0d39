/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * FWHT frames: check a header, decode a payload, lay the picture out.
 * Works on CPU memory only and knows neither V4L2 queues nor the hardware.
 */
#ifndef FWHT_STREAM_H
#define FWHT_STREAM_H

#include <linux/types.h>

#define FWHT_MIN_SIZE		16
#define FWHT_MAX_WIDTH		640
#define FWHT_MAX_HEIGHT		368
/* 4:2:0 and 8x8 blocks in every plane */
#define FWHT_ALIGN		16
#define FWHT_MAX_PLANES		3

/**
 * struct fwht_geometry - size of the pictures of a stream
 * @width:		visible width in pixels
 * @height:		visible height in pixels
 * @coded_width:	@width rounded up to FWHT_ALIGN
 * @coded_height:	@height rounded up to FWHT_ALIGN
 */
struct fwht_geometry {
	u32 width;
	u32 height;
	u32 coded_width;
	u32 coded_height;
};

/**
 * struct fwht_steps - what a device rounds pictures in memory up to
 * @stride:	bytes of a row of luma, a multiple of FWHT_ALIGN
 * @rows:	rows of luma, a multiple of FWHT_ALIGN
 */
struct fwht_steps {
	u32 stride;
	u32 rows;
};

/**
 * struct fwht_layout - a picture in a CAPTURE buffer
 * @pixelformat: V4L2_PIX_FMT_NV12, NV12M, YUV420 or YUV420M
 * @width:	coded width in pixels
 * @rows:	rows of luma; chroma has half as many
 * @stride:	bytes of a row of luma
 * @num_planes:	memory planes
 * @bytesperline: of the first component in each memory plane
 * @sizeimage:	bytes of each memory plane
 * @size:	bytes of all of them
 */
struct fwht_layout {
	u32 pixelformat;
	u32 width;
	u32 rows;
	u32 stride;
	unsigned int num_planes;
	u32 bytesperline[FWHT_MAX_PLANES];
	u32 sizeimage[FWHT_MAX_PLANES];
	size_t size;
};

/**
 * struct fwht_frame_info - what the header of a frame says, checked
 * @geometry:	its size
 * @flags:	V4L2_FWHT_FL_*
 * @colorspace:	enum v4l2_colorspace, not checked
 * @xfer_func:	enum v4l2_xfer_func, not checked
 * @ycbcr_enc:	enum v4l2_ycbcr_encoding, not checked
 * @quantization: enum v4l2_quantization, not checked
 */
struct fwht_frame_info {
	struct fwht_geometry geometry;
	u32 flags;
	u32 colorspace;
	u32 xfer_func;
	u32 ycbcr_enc;
	u32 quantization;
};

/**
 * struct fwht_decoder - decoder state from frame to frame
 * @geometry:		size of the two pictures
 * @current_picture:	decode target, planes Y, Cb, Cr one after another
 * @reference:		the picture decoded last
 * @has_reference:	@reference holds a picture
 */
struct fwht_decoder {
	struct fwht_geometry geometry;
	u8 *current_picture;
	u8 *reference;
	bool has_reference;
};

void fwht_geometry_set(struct fwht_geometry *geometry, u32 width, u32 height);
bool fwht_geometry_equal(const struct fwht_geometry *a,
			 const struct fwht_geometry *b);
void fwht_layout_set(struct fwht_layout *layout,
		     const struct fwht_geometry *geometry,
		     const struct fwht_steps *steps, u32 pixelformat);
size_t fwht_max_frame_size(const struct fwht_geometry *geometry);

int fwht_parse_header(const void *frame, size_t len,
		      struct fwht_frame_info *info);

void fwht_decoder_reset(struct fwht_decoder *decoder);
void fwht_decoder_free(struct fwht_decoder *decoder);
int fwht_decoder_decode(struct fwht_decoder *decoder, const void *frame,
			size_t len, const struct fwht_frame_info *info,
			const struct fwht_layout *layout, u8 *out);

#endif
