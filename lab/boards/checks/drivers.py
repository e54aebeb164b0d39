"""The facts about drivers, against the kernel's modules, its own image and its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.boards import fourcc
from lab.boards.checks.finding import Finding, ok, settle, wrong
from lab.boards.facts import Decoder
from lab.boards.target import Target
from lab.imaging.kernels import KernelFiles


def findings(target: Target, kernel: KernelFiles) -> Iterator[Finding]:
    """Every fact about the drivers of the target's devices in ``kernel``."""
    for decoder in (one.at(kernel.release) for one in target.decoders):
        fact = f"decoders.{decoder.name}"
        if decoder.compatible is None:
            continue
        expected = decoder.there(kernel.release) and decoder.in_debian
        if decoder.kconfig is not None and decoder.there(kernel.release):
            yield _option(f"{fact}.kconfig", decoder.kconfig, decoder.in_debian, kernel)
        yield _module(f"{fact}.module", decoder.compatible, decoder.module, expected, kernel)
        if not expected:
            continue
        for compatible, module in decoder.helpers.items():
            yield _module(f"{fact}.helpers.{compatible}", compatible, module, True, kernel)
        yield _text(f"{fact}.driver", decoder.driver, decoder.module, kernel)
        for file in decoder.firmware:
            yield _text(f"{fact}.firmware", file, decoder.module, kernel)
        for key, formats in (("coded", decoder.coded), ("raw", decoder.raw)):
            yield _formats(f"{fact}.{key}", formats, decoder, kernel)
    yield from _iommu(target, kernel)
    yield from _gpu(target, kernel)
    for module in target.modules:
        said = "built by the image's recipe" if module in kernel.own else "is there"
        there = module in kernel.modules
        yield settle(f"modules.{module}", there, said, f"the kernel has no module {module}")


def _option(fact: str, option: str, in_debian: bool, kernel: KernelFiles) -> Finding:
    value = kernel.options.get(option)
    said = f"{option}={value}" if value else f"{option} is not set"
    return settle(fact, (value is not None) == in_debian, said, f"{said} in this kernel")


def _module(fact: str, compatible: str, module: str, expected: bool, kernel: KernelFiles) -> Finding:
    """The module is the one that is loaded for the device, or nothing is, as stated."""
    loaded = kernel.drivers.get(compatible, [])
    names = ", ".join(loaded) or "none"
    if not expected:
        agrees = module.replace("-", "_") not in loaded
        return settle(fact, agrees, "not in this kernel, as stated", f"{compatible} loads {names}")
    if module.replace("-", "_") in loaded:
        return ok(fact, f"loaded for {compatible}")
    if kernel.says(f"{compatible}\0", module):  # bound by its table once something else has loaded it
        return ok(fact, f"has {compatible} in its table, not among its aliases")
    return wrong(fact, f"the kernel's module for {compatible} is {names}")


def _text(fact: str, text: str, module: str, kernel: KernelFiles) -> Finding:
    said = f"{module} has the word {text}"
    return settle(fact, kernel.says(f"{text}\0", module), said, f"'{text}' stands nowhere in {module}")


def _formats(fact: str, formats: Sequence[str], decoder: Decoder, kernel: KernelFiles) -> Finding:
    """The driver has the code of each format; which of them a device offers, only that can tell."""
    unknown = [name for name in formats if name not in fourcc.CODES]
    if unknown:
        return wrong(fact, f"V4L2 has no {', '.join(unknown)}, as far as is known here")
    missing = [
        name
        for name in formats
        if not any(kernel.knows(fourcc.CODES[name], module) for module in decoder.modules)
    ]
    where = ", ".join(decoder.modules)
    said = f"{where} has {', '.join(formats)}"
    return settle(fact, not missing, said, f"{where} of this kernel has no {', '.join(missing)}")


def _iommu(target: Target, kernel: KernelFiles) -> Iterator[Finding]:
    iommu = target.iommu
    if iommu.driver is None or not iommu.compatible:
        return
    if iommu.kconfig is not None:
        yield _option("iommu.kconfig", iommu.kconfig, True, kernel)
    if iommu.module is None:
        known = [one for one in iommu.compatible if kernel.handles(one)]
        said = f"built in, for {', '.join(known)}"
        otherwise = f"nothing built in knows {', '.join(iommu.compatible)}"
        yield settle("iommu.driver", bool(known), said, otherwise)
    else:
        for compatible in iommu.compatible:
            yield _module("iommu.module", compatible, iommu.module, True, kernel)
    for line in iommu.log:
        said = f"'{line}' stands in {iommu.module or 'the kernel'}"
        otherwise = f"'{line}' stands nowhere in {iommu.module or 'the kernel'}"
        yield settle("iommu.log", kernel.says(line, iommu.module), said, otherwise)


def _gpu(target: Target, kernel: KernelFiles) -> Iterator[Finding]:
    gpu = target.gpu
    if gpu is None or gpu.compatible is None:
        return
    if gpu.kconfig is not None:
        yield _option("gpu.kconfig", gpu.kconfig, gpu.in_debian, kernel)
    yield _module("gpu.module", gpu.compatible, gpu.module, gpu.in_debian, kernel)
    for file in gpu.firmware if gpu.in_debian else ():
        yield _text("gpu.firmware", file, gpu.module, kernel)
