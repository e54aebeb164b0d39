// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA engine of QEMU's "edu" PCI device (docs/specs/edu in QEMU).
 *
 * The engine moves bytes between RAM and a buffer of 4096 bytes inside the
 * device. Nothing but the engine can see that buffer, so a block of bytes goes
 * from the CPU to a DMA address in two transfers: coherent "FIFO" memory ->
 * device, device -> destination. Each transfer takes 100 ms of virtual time.
 */

#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/minmax.h>
#include <linux/sizes.h>

#include "edu_dma.h"

#define EDU_ID			0x00
#define EDU_ID_MASK		0xff
#define EDU_ID_VALUE		0xed
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_ACK		0x64
#define EDU_IRQ_DMA		0x100
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_DMA_CMD_RUN		BIT(0)
#define EDU_DMA_CMD_TO_RAM	BIT(1)
#define EDU_DMA_CMD_IRQ		BIT(2)

/* Where the device's own buffer lies in the engine's address space */
#define EDU_BUFFER		0x40000

/*
 * The device has room for 4096 bytes, but a transfer that ends exactly at the
 * end of its buffer aborts QEMU. 4088 keeps every block aligned to 8 bytes and
 * needs no more transfers than 4095 would for the frame sizes in use.
 */
#define EDU_DMA_BLOCK		4088

/* A transfer takes 100 ms; a busy host may deliver the interrupt much later. */
#define EDU_DMA_TIMEOUT_MS	5000
#define EDU_DMA_DRAIN_US	(500 * USEC_PER_MSEC)

static irqreturn_t edu_dma_interrupt(int irq, void *data)
{
	struct edu_dma *dma = data;
	u32 status = readl(dma->regs + EDU_IRQ_STATUS);

	if (!status || status == ~0U)
		return IRQ_NONE;

	writel(status, dma->regs + EDU_IRQ_ACK);
	if (status & EDU_IRQ_DMA)
		complete(&dma->done);
	return IRQ_HANDLED;
}

/*
 * A transfer whose interrupt never came may still write to RAM that its owner
 * is about to get back. Take the device off the bus until it is idle.
 */
static int edu_dma_recover(struct edu_dma *dma)
{
	u64 cmd;

	pci_clear_master(dma->pdev);
	if (readq_poll_timeout(dma->regs + EDU_DMA_CMD, cmd,
			       !(cmd & EDU_DMA_CMD_RUN), USEC_PER_MSEC,
			       EDU_DMA_DRAIN_US)) {
		dev_err(&dma->pdev->dev, "DMA engine hangs, giving up\n");
		WRITE_ONCE(dma->stopped, true);
		return -EIO;
	}
	synchronize_irq(dma->irq);
	pci_set_master(dma->pdev);
	dev_warn(&dma->pdev->dev, "DMA transfer without an interrupt\n");
	return -ETIMEDOUT;
}

static int edu_dma_transfer(struct edu_dma *dma, u64 src, u64 dst, size_t count,
			    u64 direction)
{
	if (READ_ONCE(dma->stopped))
		return -ENODEV;

	reinit_completion(&dma->done);
	writeq(src, dma->regs + EDU_DMA_SRC);
	writeq(dst, dma->regs + EDU_DMA_DST);
	writeq(count, dma->regs + EDU_DMA_COUNT);
	writeq(EDU_DMA_CMD_RUN | EDU_DMA_CMD_IRQ | direction,
	       dma->regs + EDU_DMA_CMD);

	if (!wait_for_completion_timeout(&dma->done,
					 msecs_to_jiffies(EDU_DMA_TIMEOUT_MS)))
		return edu_dma_recover(dma);
	return 0;
}

/* Move @count bytes, at most EDU_DMA_BLOCK, from RAM at @src to RAM at @dst. */
static int edu_dma_move(struct edu_dma *dma, dma_addr_t dst, dma_addr_t src,
			size_t count)
{
	int ret;

	ret = edu_dma_transfer(dma, src, EDU_BUFFER, count, 0);
	if (ret)
		return ret;
	return edu_dma_transfer(dma, EDU_BUFFER, dst, count,
				EDU_DMA_CMD_TO_RAM);
}

/**
 * edu_dma_write() - let the device write bytes to RAM
 * @dma:	the engine
 * @dst:	DMA address to write to
 * @src:	what to write
 * @len:	how many bytes
 * @cancel:	looked at before each block, true ends the transfer
 *
 * Sleeps, about 200 ms for each EDU_DMA_BLOCK bytes. The device gives no sign
 * of an IOMMU fault: 0 means that it has finished, not that bytes arrived.
 *
 * Return: 0, -ECANCELED, -ENODEV when the engine has been stopped, -ETIMEDOUT
 * or -EIO when the device does not answer.
 */
int edu_dma_write(struct edu_dma *dma, dma_addr_t dst, const void *src,
		  size_t len, const bool *cancel)
{
	size_t done, count;
	int ret;

	for (done = 0; done < len; done += count) {
		if (READ_ONCE(*cancel))
			return -ECANCELED;
		count = min_t(size_t, len - done, EDU_DMA_BLOCK);
		memcpy(dma->fifo, src + done, count);
		ret = edu_dma_move(dma, dst + done, dma->fifo_addr, count);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * edu_dma_read() - let the device read bytes from RAM
 * @dma:	the engine
 * @dst:	where the bytes go
 * @src:	DMA address to read from
 * @len:	how many bytes
 * @cancel:	looked at before each block, true ends the transfer
 *
 * Return: as edu_dma_write().
 */
int edu_dma_read(struct edu_dma *dma, void *dst, dma_addr_t src, size_t len,
		 const bool *cancel)
{
	size_t done, count;
	int ret;

	for (done = 0; done < len; done += count) {
		if (READ_ONCE(*cancel))
			return -ECANCELED;
		count = min_t(size_t, len - done, EDU_DMA_BLOCK);
		ret = edu_dma_move(dma, dma->fifo_addr, src + done, count);
		if (ret)
			return ret;
		memcpy(dst + done, dma->fifo, count);
	}
	return 0;
}

/**
 * edu_dma_stop() - let no further transfer start
 * @dma:	the engine
 *
 * The transfer under way ends by itself within 100 ms; wait for the caller of
 * edu_dma_write() or edu_dma_read() before edu_dma_exit().
 */
void edu_dma_stop(struct edu_dma *dma)
{
	WRITE_ONCE(dma->stopped, true);
}

/**
 * edu_dma_init() - map the device's registers and get its interrupt
 * @dma:	zeroed
 * @pdev:	enabled, regions requested, DMA masks set
 *
 * Return: 0 or a negative error number.
 */
int edu_dma_init(struct edu_dma *dma, struct pci_dev *pdev)
{
	int ret;

	dma->pdev = pdev;
	init_completion(&dma->done);

	dma->regs = pci_iomap(pdev, 0, 0);
	if (!dma->regs)
		return -ENOMEM;
	if ((readl(dma->regs + EDU_ID) & EDU_ID_MASK) != EDU_ID_VALUE) {
		ret = -ENODEV;
		goto unmap;
	}

	dma->fifo = dma_alloc_coherent(&pdev->dev, SZ_4K, &dma->fifo_addr,
				       GFP_KERNEL);
	if (!dma->fifo) {
		ret = -ENOMEM;
		goto unmap;
	}

	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (ret < 0)
		goto free_fifo;
	dma->irq = pci_irq_vector(pdev, 0);
	ret = request_irq(dma->irq, edu_dma_interrupt, IRQF_SHARED,
			  pci_name(pdev), dma);
	if (ret)
		goto free_vectors;

	pci_set_master(pdev);
	return 0;

free_vectors:
	pci_free_irq_vectors(pdev);
free_fifo:
	dma_free_coherent(&pdev->dev, SZ_4K, dma->fifo, dma->fifo_addr);
unmap:
	pci_iounmap(pdev, dma->regs);
	return ret;
}

/**
 * edu_dma_exit() - undo edu_dma_init()
 * @dma:	stopped, and nobody is in a transfer
 */
void edu_dma_exit(struct edu_dma *dma)
{
	pci_clear_master(dma->pdev);
	free_irq(dma->irq, dma);
	pci_free_irq_vectors(dma->pdev);
	dma_free_coherent(&dma->pdev->dev, SZ_4K, dma->fifo, dma->fifo_addr);
	pci_iounmap(dma->pdev, dma->regs);
}
