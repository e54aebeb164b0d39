/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A V4L2 mem2mem stateful FWHT decoder over QEMU's "edu" PCI device.
 */
#ifndef FWHT_DECODER_H
#define FWHT_DECODER_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/workqueue.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-fh.h>
#include <media/v4l2-mem2mem.h>

#include "edu_dma.h"
#include "fwht_compat.h"
#include "fwht_stream.h"

#define FWHT_DRIVER_NAME	"fwht-decoder"
#define FWHT_CARD_NAME		"sharelab FWHT decoder"

/**
 * struct fwht_device - one PCI function and its video node
 * @v4l2_dev:	its release frees the whole struct, after the last close
 * @vdev:	the video node
 * @pdev:	a reference is held as long as this struct lives, because buffers
 *		that are still mapped for the device outlive the driver's unbind
 * @m2m:	runs one job at a time
 * @dma:	used by the running job only
 * @lock:	serialises file operations and the queues of all contexts
 * @contexts:	open files, under @lock
 * @index:	place in the order of first probes, see address_bits
 * @multiplanar: speaks the multi-planar API only, as most SoCs' decoders do
 * @split_only:	offers the formats of several memory planes only
 * @steps:	of pictures in memory
 * @min_buffers: CAPTURE buffers that have to be queued before the first picture
 */
struct fwht_device {
	struct v4l2_device v4l2_dev;
	struct video_device vdev;
	struct pci_dev *pdev;
	struct v4l2_m2m_dev *m2m;
	struct edu_dma dma;
	struct mutex lock;
	struct list_head contexts;
	int index;
	bool multiplanar;
	bool split_only;
	struct fwht_steps steps;
	unsigned int min_buffers;
};

/**
 * struct fwht_colorimetry - colour description, passed from stream to client
 * @colorspace:	enum v4l2_colorspace
 * @xfer_func:	enum v4l2_xfer_func
 * @ycbcr_enc:	enum v4l2_ycbcr_encoding
 * @quantization: enum v4l2_quantization
 */
struct fwht_colorimetry {
	u32 colorspace;
	u32 xfer_func;
	u32 ycbcr_enc;
	u32 quantization;
};

/**
 * struct fwht_context - one open file
 * @fh:		V4L2 file handle, owns the mem2mem context
 * @dev:	the device, valid until close even if it is unplugged
 * @ctrls:	controls
 * @entry:	in fwht_device.contexts
 * @job:	decodes one OUTPUT buffer
 * @job_cancelled: somebody waits for the running job to end
 * @state_lock:	what both ioctls and the job change; never held across DMA
 * @geometry:	of the stream as far as it is known: OUTPUT format or header
 * @running:	geometry that the streaming CAPTURE queue was set up for
 * @pixelformat: of CAPTURE
 * @color:	colour description of the stream
 * @output_size: bytes of an OUTPUT buffer
 * @header_seen: a valid header has come since OUTPUT was started
 * @capture_on:	CAPTURE is streaming
 * @source_change: decoding waits until the client has restarted CAPTURE
 * @output_sequence: number of the next OUTPUT buffer
 * @capture_sequence: number of the next CAPTURE buffer
 * @decoder:	codec state, job only
 * @bitstream:	private copy of an OUTPUT buffer, job only
 * @bitstream_size: bytes allocated for @bitstream
 * @bitstream_used: bytes of the first OUTPUT buffer that lie in @bitstream,
 *		0 if it has not been read yet
 * @frame:	the picture as CAPTURE wants it, job only
 * @frame_size:	bytes allocated for @frame
 */
struct fwht_context {
	struct v4l2_fh fh;
	struct fwht_device *dev;
	struct v4l2_ctrl_handler ctrls;
	struct list_head entry;
	struct work_struct job;
	bool job_cancelled;

	struct mutex state_lock;
	struct fwht_geometry geometry;
	struct fwht_geometry running;
	u32 pixelformat;
	struct fwht_colorimetry color;
	u32 output_size;
	bool header_seen;
	bool capture_on;
	bool source_change;
	u32 output_sequence;
	u32 capture_sequence;

	struct fwht_decoder decoder;
	u8 *bitstream;
	size_t bitstream_size;
	size_t bitstream_used;
	u8 *frame;
	size_t frame_size;
};

static inline struct fwht_context *fwht_context_from_file(struct file *file)
{
	return container_of(file_to_v4l2_fh(file), struct fwht_context, fh);
}

/* fwht_pci.c */
bool fwht_reads_bitstream_by_dma(void);

/* fwht_v4l2.c */
void fwht_capture_layout(const struct fwht_context *ctx,
			 const struct fwht_geometry *geometry,
			 struct fwht_layout *layout);
extern const struct v4l2_file_operations fwht_fops;
extern const struct v4l2_ioctl_ops fwht_ioctl_ops;
void fwht_sanitize_colorimetry(struct fwht_colorimetry *color);

/* fwht_job.c */
extern const struct v4l2_m2m_ops fwht_m2m_ops;
void fwht_job_init(struct fwht_context *ctx);
void fwht_job_flush(struct fwht_context *ctx);
void fwht_job_exit(struct fwht_context *ctx);
void fwht_signal_eos(struct fwht_context *ctx);
void fwht_finish_drain(struct fwht_context *ctx);

/* fwht_queue.c */
bool fwht_buffer_fits(struct vb2_buffer *vb, const struct fwht_layout *layout);
int fwht_queue_init(void *priv, struct vb2_queue *output,
		    struct vb2_queue *capture);
int fwht_queue_command(struct fwht_context *ctx, struct file *file, void *priv,
		       struct v4l2_decoder_cmd *cmd);
void fwht_queue_stop(struct fwht_context *ctx);
void fwht_queue_disconnect(struct fwht_context *ctx);

#endif
