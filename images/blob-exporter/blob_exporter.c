// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exports the shared memory of a virtio device as dma-bufs.
 *
 * The VMM maps memory that the host chose into a BAR of the device. virtio-gpu
 * takes the addresses of what it imports for guest-physical ones and hands them
 * to the VMM, so a range of that BAR becomes a blob without a copy.
 *
 * The device is a virtio video decoder by its number, for which mainline has
 * no driver; nothing is asked of its queues. By binding to it this driver sets
 * DRIVER_OK, before which the VMM maps nothing.
 */

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

#include "blob_exporter.h"

/* include/uapi/linux/virtio_ids.h has it as VIRTIO_ID_VIDEO_DECODER */
#define DEVICE_ID	31
#define REGION		0

/*
 * The one device's shared memory, guest-physical; no length: no device. Not the
 * device's own data, for /dev/blob-exporter can stay open when it goes.
 */
static struct virtio_shm_region region;
static DEFINE_MUTEX(region_lock);

/**
 * struct span - what one dma-buf is of
 * @address:	guest-physical
 * @size:	bytes, whole pages
 */
struct span {
	phys_addr_t address;
	size_t size;
};

/*
 * There are no struct pages for the range, only addresses. An importer has to
 * be able to live with that; virtio devices are, because the VMM that runs them
 * finds the BAR's memory as it finds RAM.
 */
static int span_attach(struct dma_buf *dmabuf,
		       struct dma_buf_attachment *attachment)
{
	struct device *dev = attachment->dev;

	if (attachment->peer2peer)
		return 0;
	if (dev_is_pci(dev) &&
	    to_pci_dev(dev)->vendor == PCI_VENDOR_ID_REDHAT_QUMRANET)
		return 0;
	return -EOPNOTSUPP;
}

static struct sg_table *span_map(struct dma_buf_attachment *attachment,
				 enum dma_data_direction direction)
{
	struct span *span = attachment->dmabuf->priv;
	struct sg_table *table;
	dma_addr_t address;
	int ret;

	table = kzalloc(sizeof(*table), GFP_KERNEL);
	if (!table)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(table, 1, GFP_KERNEL);
	if (ret)
		goto free_table;
	address = dma_map_resource(attachment->dev, span->address, span->size,
				   direction, 0);
	if (dma_mapping_error(attachment->dev, address)) {
		ret = -EIO;
		goto free_list;
	}
	sg_set_page(table->sgl, NULL, span->size, 0);
	sg_dma_address(table->sgl) = address;
	sg_dma_len(table->sgl) = span->size;
	return table;

free_list:
	sg_free_table(table);
free_table:
	kfree(table);
	return ERR_PTR(ret);
}

static void span_unmap(struct dma_buf_attachment *attachment,
		       struct sg_table *table,
		       enum dma_data_direction direction)
{
	dma_unmap_resource(attachment->dev, sg_dma_address(table->sgl),
			   sg_dma_len(table->sgl), direction, 0);
	sg_free_table(table);
	kfree(table);
}

static int span_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct span *span = dmabuf->priv;

	/*
	 * Cacheable: behind the BAR is RAM of the host, whose CPUs see it so.
	 * dma-buf has checked that the mapping lies inside the buffer.
	 */
	return remap_pfn_range(vma, vma->vm_start,
			       PHYS_PFN(span->address) + vma->vm_pgoff,
			       vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static void span_release(struct dma_buf *dmabuf)
{
	kfree(dmabuf->priv);
}

static const struct dma_buf_ops span_ops = {
	.attach = span_attach,
	.map_dma_buf = span_map,
	.unmap_dma_buf = span_unmap,
	.mmap = span_mmap,
	.release = span_release,
};

static struct dma_buf *export_span(phys_addr_t address, size_t size)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;
	struct span *span;

	span = kzalloc(sizeof(*span), GFP_KERNEL);
	if (!span)
		return ERR_PTR(-ENOMEM);
	span->address = address;
	span->size = size;

	info.ops = &span_ops;
	info.size = size;
	info.flags = O_RDWR;
	info.priv = span;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf))
		kfree(span);
	return dmabuf;
}

static long exporter_ioctl(struct file *file, unsigned int command,
			   unsigned long argument)
{
	struct blob_export __user *user = (void __user *)argument;
	struct blob_export request;
	struct dma_buf *dmabuf;
	int fd;

	if (command != BLOB_EXPORT)
		return -ENOTTY;
	if (copy_from_user(&request, user, sizeof(request)))
		return -EFAULT;
	if (!request.size || request.pad ||
	    !PAGE_ALIGNED(request.offset | request.size))
		return -EINVAL;

	mutex_lock(&region_lock);
	if (request.offset > region.len ||
	    request.size > region.len - request.offset) {
		mutex_unlock(&region_lock);
		return -EINVAL;
	}
	request.address = region.addr + request.offset;
	mutex_unlock(&region_lock);

	dmabuf = export_span(request.address, request.size);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		goto put;
	request.fd = fd;
	if (copy_to_user(user, &request, sizeof(request))) {
		put_unused_fd(fd);
		fd = -EFAULT;
		goto put;
	}
	fd_install(fd, dmabuf->file);
	return 0;

put:
	dma_buf_put(dmabuf);
	return fd;
}

static const struct file_operations exporter_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = exporter_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice exporter_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "blob-exporter",
	.fops = &exporter_fops,
};

static int exporter_probe(struct virtio_device *vdev)
{
	struct virtio_shm_region found;
	int ret;

	if (!virtio_get_shm_region(vdev, &found, REGION))
		return dev_err_probe(&vdev->dev, -ENODEV,
				     "the device has no shared memory region %d\n",
				     REGION);
	ret = misc_register(&exporter_misc);
	if (ret)
		return ret;

	mutex_lock(&region_lock);
	region = found;
	mutex_unlock(&region_lock);
	dev_info(&vdev->dev, "shared memory: %llu bytes at %#llx\n",
		 found.len, found.addr);
	return 0;
}

static void exporter_remove(struct virtio_device *vdev)
{
	mutex_lock(&region_lock);
	region.len = 0;
	mutex_unlock(&region_lock);
	misc_deregister(&exporter_misc);
	virtio_reset_device(vdev);
}

static const struct virtio_device_id exporter_ids[] = {
	{ DEVICE_ID, VIRTIO_DEV_ANY_ID },
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, exporter_ids);

static struct virtio_driver exporter_driver = {
	.driver.name = KBUILD_MODNAME,
	/* An open dma-buf keeps the module, hence the driver must stay too */
	.driver.suppress_bind_attrs = true,
	.id_table = exporter_ids,
	.probe = exporter_probe,
	.remove = exporter_remove,
};
module_virtio_driver(exporter_driver);

MODULE_DESCRIPTION("dma-bufs of a virtio device's shared memory");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
