/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The DMA engine of QEMU's "edu" PCI device.
 */
#ifndef EDU_DMA_H
#define EDU_DMA_H

#include <linux/completion.h>
#include <linux/pci.h>
#include <linux/types.h>

/**
 * struct edu_dma - one engine; transfers are serialised by the caller
 * @pdev:	the PCI function
 * @regs:	BAR 0
 * @irq:	Linux interrupt number
 * @done:	completed by the interrupt handler
 * @fifo:	CPU address of the coherent memory on the far side of a transfer
 * @fifo_addr:	its DMA address
 * @stopped:	no transfer may be started any more
 */
struct edu_dma {
	struct pci_dev *pdev;
	void __iomem *regs;
	int irq;
	struct completion done;
	void *fifo;
	dma_addr_t fifo_addr;
	bool stopped;
};

int edu_dma_init(struct edu_dma *dma, struct pci_dev *pdev);
void edu_dma_exit(struct edu_dma *dma);
void edu_dma_stop(struct edu_dma *dma);

int edu_dma_write(struct edu_dma *dma, dma_addr_t dst, const void *src,
		  size_t len, const bool *cancel);
int edu_dma_read(struct edu_dma *dma, void *dst, dma_addr_t src, size_t len,
		 const bool *cancel);

#endif
