"""Comparisons: the same sharing paths on several SoCs, kernels, VMMs, IOMMU modes or runs, side by side.

Pure but for the renderers: ``measured`` says which attempts count, ``columns`` what is compared, ``build``
puts rows together, ``explain`` names the constraint behind each difference, ``statistics`` says what samples
can tell. ``terminal``, ``files`` (Markdown, CSV, JSON) and ``page`` (HTML) show it.
"""

from lab.results.compare.build import compare
from lab.results.compare.measured import Measured
from lab.results.compare.model import Comparison

__all__ = ["Comparison", "Measured", "compare"]
