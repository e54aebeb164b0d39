"""sharelab: the hardware-in-the-loop lab for ARM64 boards that share buffers between decoders and GPUs."""

__version__ = "0.1.0"
