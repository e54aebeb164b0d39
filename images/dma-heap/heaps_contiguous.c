// SPDX-License-Identifier: GPL-2.0-only
/*
 * The "cma" heap: physically contiguous buffers.
 *
 * The kernel's own cma_heap.c calls CMA functions that are not exported to
 * modules. dma_alloc_pages() for a device without an IOMMU takes its pages from
 * the default CMA area too, and from the page allocator if that is full; they
 * are contiguous and below 4 GiB in both cases.
 */

#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/iosys-map.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "heaps.h"

/* Allocates on behalf of the heap and never does DMA */
static struct platform_device *contiguous_pdev;

/**
 * struct contiguous_buffer - one dma-buf
 * @pages:	the first page
 * @dma_addr:	as the allocating device sees it, for dma_free_pages()
 * @len:	bytes, whole pages
 * @lock:	protects @attachments
 * @attachments: struct contiguous_attachment
 */
struct contiguous_buffer {
	struct page *pages;
	dma_addr_t dma_addr;
	size_t len;
	struct mutex lock;
	struct list_head attachments;
};

/**
 * struct contiguous_attachment - an importer
 * @entry:	in contiguous_buffer.attachments
 * @dev:	the importing device
 * @table:	a single entry, mapped for @dev or not
 * @mapped:	@table is mapped
 */
struct contiguous_attachment {
	struct list_head entry;
	struct device *dev;
	struct sg_table table;
	bool mapped;
};

static int contiguous_attach(struct dma_buf *dmabuf,
			     struct dma_buf_attachment *attachment)
{
	struct contiguous_buffer *buffer = dmabuf->priv;
	struct contiguous_attachment *a;
	int ret;

	a = kzalloc(sizeof(*a), GFP_KERNEL);
	if (!a)
		return -ENOMEM;
	ret = sg_alloc_table(&a->table, 1, GFP_KERNEL);
	if (ret) {
		kfree(a);
		return ret;
	}
	sg_set_page(a->table.sgl, buffer->pages, buffer->len, 0);
	a->dev = attachment->dev;
	attachment->priv = a;

	mutex_lock(&buffer->lock);
	list_add(&a->entry, &buffer->attachments);
	mutex_unlock(&buffer->lock);
	return 0;
}

static void contiguous_detach(struct dma_buf *dmabuf,
			      struct dma_buf_attachment *attachment)
{
	struct contiguous_buffer *buffer = dmabuf->priv;
	struct contiguous_attachment *a = attachment->priv;

	mutex_lock(&buffer->lock);
	list_del(&a->entry);
	mutex_unlock(&buffer->lock);
	sg_free_table(&a->table);
	kfree(a);
}

static struct sg_table *contiguous_map(struct dma_buf_attachment *attachment,
				       enum dma_data_direction direction)
{
	struct contiguous_buffer *buffer = attachment->dmabuf->priv;
	struct contiguous_attachment *a = attachment->priv;
	int ret;

	ret = dma_map_sgtable(attachment->dev, &a->table, direction, 0);
	if (ret)
		return ERR_PTR(ret);
	mutex_lock(&buffer->lock);
	a->mapped = true;
	mutex_unlock(&buffer->lock);
	return &a->table;
}

static void contiguous_unmap(struct dma_buf_attachment *attachment,
			     struct sg_table *table,
			     enum dma_data_direction direction)
{
	struct contiguous_buffer *buffer = attachment->dmabuf->priv;
	struct contiguous_attachment *a = attachment->priv;

	mutex_lock(&buffer->lock);
	a->mapped = false;
	mutex_unlock(&buffer->lock);
	dma_unmap_sgtable(attachment->dev, table, direction, 0);
}

static int contiguous_begin_cpu_access(struct dma_buf *dmabuf,
				       enum dma_data_direction direction)
{
	struct contiguous_buffer *buffer = dmabuf->priv;
	struct contiguous_attachment *a;

	mutex_lock(&buffer->lock);
	list_for_each_entry(a, &buffer->attachments, entry)
		if (a->mapped)
			dma_sync_sgtable_for_cpu(a->dev, &a->table, direction);
	mutex_unlock(&buffer->lock);
	return 0;
}

static int contiguous_end_cpu_access(struct dma_buf *dmabuf,
				     enum dma_data_direction direction)
{
	struct contiguous_buffer *buffer = dmabuf->priv;
	struct contiguous_attachment *a;

	mutex_lock(&buffer->lock);
	list_for_each_entry(a, &buffer->attachments, entry)
		if (a->mapped)
			dma_sync_sgtable_for_device(a->dev, &a->table,
						    direction);
	mutex_unlock(&buffer->lock);
	return 0;
}

static int contiguous_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct contiguous_buffer *buffer = dmabuf->priv;

	/* dma-buf has checked that the range lies inside the buffer. */
	return remap_pfn_range(vma, vma->vm_start,
			       page_to_pfn(buffer->pages) + vma->vm_pgoff,
			       vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static int contiguous_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct contiguous_buffer *buffer = dmabuf->priv;

	/* Pages below 4 GiB of a 64-bit kernel are always mapped. */
	iosys_map_set_vaddr(map, page_address(buffer->pages));
	return 0;
}

static void contiguous_release(struct dma_buf *dmabuf)
{
	struct contiguous_buffer *buffer = dmabuf->priv;

	dma_free_pages(&contiguous_pdev->dev, buffer->len, buffer->pages,
		       buffer->dma_addr, DMA_BIDIRECTIONAL);
	mutex_destroy(&buffer->lock);
	kfree(buffer);
}

static const struct dma_buf_ops contiguous_dmabuf_ops = {
	.attach = contiguous_attach,
	.detach = contiguous_detach,
	.map_dma_buf = contiguous_map,
	.unmap_dma_buf = contiguous_unmap,
	.begin_cpu_access = contiguous_begin_cpu_access,
	.end_cpu_access = contiguous_end_cpu_access,
	.mmap = contiguous_mmap,
	.vmap = contiguous_vmap,
	.release = contiguous_release,
};

static struct dma_buf *contiguous_allocate(struct dma_heap *heap,
					   unsigned long len, u32 fd_flags,
					   u64 heap_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct contiguous_buffer *buffer;
	struct dma_buf *dmabuf;

	buffer = kzalloc(sizeof(*buffer), GFP_KERNEL);
	if (!buffer)
		return ERR_PTR(-ENOMEM);
	mutex_init(&buffer->lock);
	INIT_LIST_HEAD(&buffer->attachments);
	buffer->len = PAGE_ALIGN(len);
	buffer->pages = dma_alloc_pages(&contiguous_pdev->dev, buffer->len,
					&buffer->dma_addr, DMA_BIDIRECTIONAL,
					GFP_KERNEL | __GFP_NOWARN);
	if (!buffer->pages) {
		dmabuf = ERR_PTR(-ENOMEM);
		goto free_buffer;
	}

	info.exp_name = dma_heap_get_name(heap);
	info.ops = &contiguous_dmabuf_ops;
	info.size = buffer->len;
	info.flags = fd_flags;
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf))
		goto free_pages;
	return dmabuf;

free_pages:
	dma_free_pages(&contiguous_pdev->dev, buffer->len, buffer->pages,
		       buffer->dma_addr, DMA_BIDIRECTIONAL);
free_buffer:
	mutex_destroy(&buffer->lock);
	kfree(buffer);
	return dmabuf;
}

static const struct dma_heap_ops contiguous_heap_ops = {
	.allocate = contiguous_allocate,
};

int __init heaps_contiguous_init(void)
{
	struct dma_heap_export_info info = {
		.name = "cma",
		.ops = &contiguous_heap_ops,
	};
	struct dma_heap *heap;
	int ret;

	contiguous_pdev = platform_device_register_simple("lab-cma-heap",
							  PLATFORM_DEVID_NONE,
							  NULL, 0);
	if (IS_ERR(contiguous_pdev))
		return PTR_ERR(contiguous_pdev);
	ret = dma_coerce_mask_and_coherent(&contiguous_pdev->dev,
					   DMA_BIT_MASK(32));
	if (ret)
		goto unregister;

	heap = dma_heap_add(&info);
	if (IS_ERR(heap)) {
		ret = PTR_ERR(heap);
		goto unregister;
	}
	return 0;

unregister:
	platform_device_unregister(contiguous_pdev);
	return ret;
}
