// SPDX-License-Identifier: GPL-2.0-only
/*
 * PCI side of the virtual FWHT decoder: probe, remove, module parameters.
 *
 * What the device does with DMA addresses is real: masks, IOMMU translation
 * and physical contiguity constrain it as they would constrain a decoder in a
 * SoC. The arithmetic of decoding is done by the CPU, but every byte of a
 * decoded picture reaches its buffer by the device's DMA engine, at the DMA
 * address of that buffer.
 */

#include <linux/array_size.h>
#include <linux/dma-mapping.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <media/v4l2-event.h>

#include "fwht_decoder.h"

#define FWHT_PCI_VENDOR		0x1234
#define FWHT_PCI_DEVICE		0x11e8
#define FWHT_MAX_DEVICES	8
/* edu's default mask; nothing in its registers tells the real one */
#define FWHT_ADDRESS_BITS	28
/* More than any decoder of a SoC wants */
#define FWHT_MAX_STEP		4096
/* Decoding keeps its reference picture to itself. */
#define FWHT_MIN_BUFFERS	1
#define FWHT_MAX_MIN_BUFFERS	16

static int address_bits[FWHT_MAX_DEVICES] = {
	[0 ... FWHT_MAX_DEVICES - 1] = FWHT_ADDRESS_BITS
};
module_param_array(address_bits, int, NULL, 0644);
MODULE_PARM_DESC(address_bits,
		 "DMA address bits of each device in the order of their first probe, read at each probe (default 28)");

static int multiplanar[FWHT_MAX_DEVICES];
module_param_array(multiplanar, int, NULL, 0644);
MODULE_PARM_DESC(multiplanar,
		 "1: the device speaks the multi-planar API, and offers NV12M and YUV420M too; 2: offers only these; read at each probe (default 0)");

static int stride_align[FWHT_MAX_DEVICES] = {
	[0 ... FWHT_MAX_DEVICES - 1] = FWHT_ALIGN
};
module_param_array(stride_align, int, NULL, 0644);
MODULE_PARM_DESC(stride_align,
		 "Rows of luma are rounded up to so many bytes; read at each probe (default 16)");

static int height_align[FWHT_MAX_DEVICES] = {
	[0 ... FWHT_MAX_DEVICES - 1] = FWHT_ALIGN
};
module_param_array(height_align, int, NULL, 0644);
MODULE_PARM_DESC(height_align,
		 "Pictures are rounded up to so many rows of luma; read at each probe (default 16)");

static int min_buffers[FWHT_MAX_DEVICES] = {
	[0 ... FWHT_MAX_DEVICES - 1] = FWHT_MIN_BUFFERS
};
module_param_array(min_buffers, int, NULL, 0644);
MODULE_PARM_DESC(min_buffers,
		 "CAPTURE buffers that the device wants before it decodes; above 1 it takes the last queued one first; read at each probe (default 1)");

static bool bitstream_dma;
module_param(bitstream_dma, bool, 0644);
MODULE_PARM_DESC(bitstream_dma,
		 "Read OUTPUT buffers by DMA too: 200 ms more for each 4 kB of bitstream (default no)");

/* PCI functions in the order of their first probe */
static DEFINE_MUTEX(fwht_slots_lock);
static struct fwht_slot {
	int domain;
	unsigned int bus;
	unsigned int devfn;
} fwht_slots[FWHT_MAX_DEVICES];
static int fwht_slot_count;

bool fwht_reads_bitstream_by_dma(void)
{
	return READ_ONCE(bitstream_dma);
}

/* The last file is closed, or there never was one. */
static void fwht_device_release(struct v4l2_device *v4l2_dev)
{
	struct fwht_device *dev =
		container_of(v4l2_dev, struct fwht_device, v4l2_dev);

	if (dev->m2m)
		v4l2_m2m_release(dev->m2m);
	mutex_destroy(&dev->lock);
	pci_dev_put(dev->pdev);
	kfree(dev);
}

/*
 * The place of a function in address_bits. It keeps the place when its probe
 * fails and when it is bound again, so the other places stay what they are.
 */
static int fwht_device_index(struct pci_dev *pdev)
{
	struct fwht_slot slot = {
		.domain = pci_domain_nr(pdev->bus),
		.bus = pdev->bus->number,
		.devfn = pdev->devfn,
	};
	int i;

	guard(mutex)(&fwht_slots_lock);
	for (i = 0; i < fwht_slot_count; i++)
		if (fwht_slots[i].domain == slot.domain &&
		    fwht_slots[i].bus == slot.bus &&
		    fwht_slots[i].devfn == slot.devfn)
			return i;
	if (fwht_slot_count == FWHT_MAX_DEVICES)
		return -ENOSPC;
	fwht_slots[fwht_slot_count] = slot;
	return fwht_slot_count++;
}

static int fwht_set_dma_mask(struct pci_dev *pdev, int index)
{
	int bits, ret;

	/* The array may be written through sysfs at any time. */
	bits = READ_ONCE(address_bits[index]);
	if (bits < 1 || bits > 64) {
		dev_err(&pdev->dev, "address_bits[%d] = %d is not in 1..64\n",
			index, bits);
		return -EINVAL;
	}

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(bits));
	if (ret) {
		dev_err(&pdev->dev,
			"%d address bits do not reach this board's RAM and no IOMMU translates (%d)\n",
			bits, ret);
		return ret;
	}
	/* An import is one range of DMA addresses, so let it be one segment. */
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	dev_info(&pdev->dev, "device %d of address_bits, %d bits\n", index,
		 bits);
	return 0;
}

/* Reads one of the module's parameters, which may be written at any time. */
static int fwht_read_step(struct pci_dev *pdev, const char *name,
			  const int *value, u32 *step)
{
	int found = READ_ONCE(*value);

	if (found < FWHT_ALIGN || found > FWHT_MAX_STEP ||
	    !is_power_of_2(found)) {
		dev_err(&pdev->dev, "%s: %d is no power of two in %d..%d\n",
			name, found, FWHT_ALIGN, FWHT_MAX_STEP);
		return -EINVAL;
	}
	*step = found;
	return 0;
}

static int fwht_read_min_buffers(struct fwht_device *dev)
{
	int found = READ_ONCE(min_buffers[dev->index]);

	if (found < FWHT_MIN_BUFFERS || found > FWHT_MAX_MIN_BUFFERS) {
		dev_err(&dev->pdev->dev, "min_buffers[%d] = %d is not in %d..%d\n",
			dev->index, found, FWHT_MIN_BUFFERS,
			FWHT_MAX_MIN_BUFFERS);
		return -EINVAL;
	}
	dev->min_buffers = found;
	return 0;
}

static int fwht_read_shape(struct fwht_device *dev)
{
	int planar = READ_ONCE(multiplanar[dev->index]);
	int ret;

	dev->multiplanar = planar;
	dev->split_only = planar > 1;
	ret = fwht_read_min_buffers(dev);
	if (ret)
		return ret;
	ret = fwht_read_step(dev->pdev, "stride_align",
			     &stride_align[dev->index], &dev->steps.stride);
	if (ret)
		return ret;
	return fwht_read_step(dev->pdev, "height_align",
			      &height_align[dev->index], &dev->steps.rows);
}

static int fwht_register_video(struct fwht_device *dev)
{
	struct video_device *vdev = &dev->vdev;

	strscpy(vdev->name, FWHT_CARD_NAME, sizeof(vdev->name));
	vdev->v4l2_dev = &dev->v4l2_dev;
	vdev->fops = &fwht_fops;
	vdev->ioctl_ops = &fwht_ioctl_ops;
	vdev->lock = &dev->lock;
	vdev->vfl_dir = VFL_DIR_M2M;
	vdev->device_caps = V4L2_CAP_STREAMING;
	vdev->device_caps |= dev->multiplanar ? V4L2_CAP_VIDEO_M2M_MPLANE :
						V4L2_CAP_VIDEO_M2M;
	/* Memory belongs to fwht_device_release(). */
	vdev->release = video_device_release_empty;
	video_set_drvdata(vdev, dev);
	return video_register_device(vdev, VFL_TYPE_VIDEO, -1);
}

static int fwht_probe_hardware(struct fwht_device *dev)
{
	struct pci_dev *pdev = dev->pdev;
	int ret;

	ret = fwht_read_shape(dev);
	if (ret)
		return ret;
	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	ret = pci_request_regions(pdev, FWHT_DRIVER_NAME);
	if (ret)
		goto disable;
	ret = fwht_set_dma_mask(pdev, dev->index);
	if (ret)
		goto release;
	ret = edu_dma_init(&dev->dma, pdev);
	if (ret)
		goto release;
	return 0;

release:
	pci_release_regions(pdev);
disable:
	pci_disable_device(pdev);
	return ret;
}

static void fwht_remove_hardware(struct fwht_device *dev)
{
	edu_dma_exit(&dev->dma);
	pci_release_regions(dev->pdev);
	pci_disable_device(dev->pdev);
}

static struct fwht_device *fwht_device_alloc(struct pci_dev *pdev)
{
	struct fwht_device *dev;
	int index = fwht_device_index(pdev);

	if (index < 0)
		return ERR_PTR(index);
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	dev->index = index;
	dev->pdev = pci_dev_get(pdev);
	mutex_init(&dev->lock);
	INIT_LIST_HEAD(&dev->contexts);
	return dev;
}

static int fwht_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct fwht_device *dev;
	int ret;

	dev = fwht_device_alloc(pdev);
	if (IS_ERR(dev))
		return PTR_ERR(dev);

	ret = v4l2_device_register(&pdev->dev, &dev->v4l2_dev);
	if (ret) {
		fwht_device_release(&dev->v4l2_dev);
		return ret;
	}
	dev->v4l2_dev.release = fwht_device_release;

	ret = fwht_probe_hardware(dev);
	if (ret)
		goto unregister;

	dev->m2m = v4l2_m2m_init(&fwht_m2m_ops);
	if (IS_ERR(dev->m2m)) {
		ret = PTR_ERR(dev->m2m);
		dev->m2m = NULL;
		goto remove_hardware;
	}

	pci_set_drvdata(pdev, dev);
	ret = fwht_register_video(dev);
	if (ret)
		goto remove_hardware;

	dev_info(&pdev->dev, "registered as %s\n",
		 video_device_node_name(&dev->vdev));
	return 0;

remove_hardware:
	fwht_remove_hardware(dev);
unregister:
	v4l2_device_unregister(&dev->v4l2_dev);
	v4l2_device_put(&dev->v4l2_dev);
	return ret;
}

/*
 * Open files stay open: their ioctls fail with ENODEV from here on. But all
 * that their queues hold of the device is given back now, since unmapping
 * needs the device's IOMMU group, which is gone after a PCI hot-unplug.
 */
static void fwht_remove(struct pci_dev *pdev)
{
	static const struct v4l2_event eos = { .type = V4L2_EVENT_EOS };
	struct fwht_device *dev = pci_get_drvdata(pdev);
	struct fwht_context *ctx;

	video_unregister_device(&dev->vdev);
	edu_dma_stop(&dev->dma);

	mutex_lock(&dev->lock);
	/* Under the lock: a close in parallel would free what this waits on. */
	v4l2_m2m_suspend(dev->m2m);
	list_for_each_entry(ctx, &dev->contexts, entry)
		fwht_queue_disconnect(ctx);
	mutex_unlock(&dev->lock);
	/* Wakes a client that sleeps in DQEVENT. */
	v4l2_event_queue(&dev->vdev, &eos);

	fwht_remove_hardware(dev);
	v4l2_device_unregister(&dev->v4l2_dev);
	v4l2_device_put(&dev->v4l2_dev);
}

static const struct pci_device_id fwht_pci_ids[] = {
	{ PCI_DEVICE(FWHT_PCI_VENDOR, FWHT_PCI_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, fwht_pci_ids);

static struct pci_driver fwht_pci_driver = {
	.name = FWHT_DRIVER_NAME,
	.id_table = fwht_pci_ids,
	.probe = fwht_probe,
	.remove = fwht_remove,
};
module_pci_driver(fwht_pci_driver);

MODULE_DESCRIPTION("V4L2 stateful FWHT decoder over QEMU's edu PCI device");
MODULE_LICENSE("GPL");
