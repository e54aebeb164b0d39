"""The GPU as a consumer: a dma-buf sampled by OpenGL ES, and what it saw read back.

Each plane is an image of its own, an 8-bit one as R8, a pair of chroma samples as GR88: drivers differ in how
they take NV12 as one image, and these come back without a conversion, so that bytes can be compared exactly.
"""

from __future__ import annotations

import ctypes
import time

from . import egl
from .buffers import HANDLES, get
from .dmabuf import attachments
from .videodev2 import fourcc as code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .dmabuf import DmaBuf

# Format of the whole -> its planes: format of one, bytes of a pixel, divisor of width and of height
PLANES: dict[str, tuple[tuple[str, int, int], ...]] = {
    "NV12": (("R8  ", 1, 1), ("GR88", 2, 2)),
    "YU12": (("R8  ", 1, 1), ("R8  ", 1, 2), ("R8  ", 1, 2)),
    "R8  ": (("R8  ", 1, 1),),
    "GR88": (("GR88", 2, 1),),
    "AB24": (("AB24", 4, 1),),
    "XB24": (("XB24", 4, 1),),
    "AR24": (("AR24", 4, 1),),
    "XR24": (("XR24", 4, 1),),
}
SPLIT = {"NM12": "NV12", "YM12": "YU12"}
"""Formats whose planes lie in a buffer each -> what they are with one buffer for all of them."""
# The bytes of a pixel as they lie in memory, out of what is sampled (red, green, blue, alpha)
ORDER = {
    "R8  ": (0,),
    "GR88": (0, 1),
    "AB24": (0, 1, 2, 3),
    "XB24": (0, 1, 2, 3),
    "AR24": (2, 1, 0, 3),
    "XR24": (2, 1, 0, 3),
}

TEXTURE_2D, TEXTURE_EXTERNAL = 0x0DE1, 0x8D65
MIN_FILTER, MAG_FILTER, WRAP_S, WRAP_T, NEAREST, CLAMP = 0x2801, 0x2800, 0x2802, 0x2803, 0x2600, 0x812F
RGBA, UNSIGNED_BYTE, FLOAT, TRIANGLES = 0x1908, 0x1401, 0x1406, 0x0004
FRAMEBUFFER, COLOR, COMPLETE, COLOR_BIT = 0x8D40, 0x8CE0, 0x8CD5, 0x4000
VERTEX, FRAGMENT, COMPILED, LINKED = 0x8B31, 0x8B30, 0x8B81, 0x8B82

VERTEX_SHADER = b"attribute vec2 corner; void main() { gl_Position = vec4(corner, 0.0, 1.0); }"
# gl_FragCoord is the middle of a pixel, so that this is the middle of a texel: nothing to interpolate
FRAGMENT_SHADER = b"""#extension GL_OES_EGL_image_external : require
precision highp float;
uniform samplerExternalOES plane;
uniform vec2 size;
void main() { gl_FragColor = texture2D(plane, gl_FragCoord.xy / size); }
"""


def layout(
    fourcc: str,
    width: int,
    height: int,
    stride: int | None = None,
    rows: int | None = None,
    strides: list[int] | None = None,
) -> list[dict[str, Any]]:
    """Return ``fourcc``, ``width``, ``height``, ``stride``, ``offset`` and ``buffer`` of each plane.

    ``stride``: bytes of a row of the first plane; ``rows``: rows of it in memory, where there are more than
    the ``height`` that is seen. As V4L2's single-planar formats lie: the planes follow one another, chroma
    has a row as long (NV12) or half as long (YU12). Those of `SPLIT` begin a buffer each, the first is 0;
    ``strides``: of each. ``ValueError`` for a format that is in neither table.
    """
    if fourcc in SPLIT:
        planes = layout(SPLIT[fourcc], width, height, stride, rows)
        own = strides or [plane["stride"] for plane in planes]
        for at, (plane, row) in enumerate(zip(planes, own, strict=True)):
            plane |= {"offset": 0, "buffer": at, "stride": row}
        return planes
    if fourcc not in PLANES:
        raise ValueError(f"no layout for {fourcc!r}; there are {', '.join((*PLANES, *SPLIT))}")
    first = PLANES[fourcc][0]
    stride = stride or width * first[1]
    rows = rows or height
    planes = []
    offset = 0
    for kind, size, divisor in PLANES[fourcc]:
        row = stride // first[1] * size // divisor
        plane = {"fourcc": kind, "width": -(-width // divisor), "height": -(-height // divisor)}
        planes.append({**plane, "stride": row, "offset": offset, "buffer": 0})
        offset += row * -(-rows // divisor)
    return planes


def unpack(fourcc: str, sampled: bytes) -> bytes:
    """Return a plane's bytes as they lie in memory, out of the RGBA bytes that were sampled from it."""
    order = ORDER[fourcc]
    if order == (0, 1, 2, 3):
        return sampled
    found = bytearray(len(sampled) // 4 * len(order))
    for place, channel in enumerate(order):
        found[place :: len(order)] = sampled[channel::4]
    return bytes(found)


class Sampler:
    """A context, the program that samples, and what it draws into: made once, it takes seconds."""

    def __init__(self, platform: int = egl.SURFACELESS, native: int | None = None) -> None:
        self.egl = egl.Egl(platform, native)
        self.gl = gl = self.egl.gl
        gl.glUniform2f.argtypes = (ctypes.c_int, ctypes.c_float, ctypes.c_float)
        gl.glClearColor.argtypes = (ctypes.c_float,) * 4
        program = gl.glCreateProgram()
        for kind, source in ((VERTEX, VERTEX_SHADER), (FRAGMENT, FRAGMENT_SHADER)):
            gl.glAttachShader(program, self._shader(kind, source))
        gl.glBindAttribLocation(program, 0, b"corner")
        gl.glLinkProgram(program)
        done = ctypes.c_int()
        gl.glGetProgramiv(program, LINKED, ctypes.byref(done))
        if not done.value:
            raise egl.GraphicsError("the program that samples does not link")
        gl.glUseProgram(program)
        self._size = gl.glGetUniformLocation(program, b"size")
        # one triangle over everything
        self._corners = (ctypes.c_float * 6)(-1, -1, 3, -1, -1, 3)
        gl.glVertexAttribPointer(0, 2, FLOAT, 0, 0, ctypes.byref(self._corners))
        gl.glEnableVertexAttribArray(0)
        gl.glPixelStorei(0x0D05, 1)  # GL_PACK_ALIGNMENT

    def sample(self, image: int, width: int, height: int) -> bytes:
        """Draw an EGLImage pixel by pixel into a texture of the same size; returns that as RGBA bytes."""
        gl = self.gl
        self.egl.current()
        names = (ctypes.c_uint * 3)()
        gl.glGenTextures(2, ctypes.byref(names))
        gl.glGenFramebuffers(1, ctypes.byref(names, 8))
        try:
            gl.glBindTexture(TEXTURE_2D, names[1])
            gl.glTexImage2D(TEXTURE_2D, 0, RGBA, width, height, 0, RGBA, UNSIGNED_BYTE, None)
            gl.glBindFramebuffer(FRAMEBUFFER, names[2])
            self._attach(names[1])
            gl.glBindTexture(TEXTURE_EXTERNAL, names[0])
            self.egl.texture(TEXTURE_EXTERNAL, image)
            wanted = ((MIN_FILTER, NEAREST), (MAG_FILTER, NEAREST), (WRAP_S, CLAMP), (WRAP_T, CLAMP))
            for name, value in wanted:
                gl.glTexParameteri(TEXTURE_EXTERNAL, name, value)
            gl.glViewport(0, 0, width, height)
            gl.glUniform2f(self._size, width, height)
            gl.glDrawArrays(TRIANGLES, 0, 3)
            pixels = ctypes.create_string_buffer(width * height * 4)
            gl.glReadPixels(0, 0, width, height, RGBA, UNSIGNED_BYTE, pixels)
            self.egl.gl_check("sampling")
            return pixels.raw
        finally:
            gl.glBindFramebuffer(FRAMEBUFFER, 0)
            gl.glDeleteFramebuffers(1, ctypes.byref(names, 8))
            gl.glDeleteTextures(2, ctypes.byref(names))

    def clear(self, image: int, width: int, height: int, colour: tuple[int, int, int, int]) -> None:
        """Draw one colour (red, green, blue, alpha, 0 to 255) into an EGLImage and wait until it is there."""
        gl = self.gl
        self.egl.current()
        names = (ctypes.c_uint * 2)()
        gl.glGenTextures(1, ctypes.byref(names))
        gl.glGenFramebuffers(1, ctypes.byref(names, 4))
        try:
            gl.glBindTexture(TEXTURE_2D, names[0])
            self.egl.texture(TEXTURE_2D, image)
            gl.glBindFramebuffer(FRAMEBUFFER, names[1])
            self._attach(names[0])
            gl.glViewport(0, 0, width, height)
            gl.glClearColor(*(channel / 255 for channel in colour))
            gl.glClear(COLOR_BIT)
            gl.glFinish()
            self.egl.gl_check("clearing")
        finally:
            gl.glBindFramebuffer(FRAMEBUFFER, 0)
            gl.glDeleteFramebuffers(1, ctypes.byref(names, 4))
            gl.glDeleteTextures(1, ctypes.byref(names))

    def _attach(self, texture: int) -> None:
        self.gl.glFramebufferTexture2D(FRAMEBUFFER, COLOR, TEXTURE_2D, texture, 0)
        if (found := self.gl.glCheckFramebufferStatus(FRAMEBUFFER)) != COMPLETE:
            raise egl.GraphicsError(f"the framebuffer is not complete: {found:#06x}")

    def _shader(self, kind: int, source: bytes) -> int:
        gl = self.gl
        shader: int = gl.glCreateShader(kind)
        text = ctypes.c_char_p(source)
        gl.glShaderSource(shader, 1, ctypes.byref(text), None)
        gl.glCompileShader(shader)
        done = ctypes.c_int()
        gl.glGetShaderiv(shader, COMPILED, ctypes.byref(done))
        if not done.value:
            log = ctypes.create_string_buffer(512)
            gl.glGetShaderInfoLog(shader, 512, None, log)
            raise egl.GraphicsError(f"a shader does not compile: {log.value.decode(errors='replace')}")
        return shader


_sampler: Sampler | None = None


def sampler() -> Sampler:
    """Return the process's sampler, made at first use."""
    global _sampler
    if _sampler is None:
        _sampler = Sampler()
    return _sampler


class Picture:
    """Buffers imported into the GPU, plane by plane, until it is closed."""

    def __init__(self, drawing: Sampler, buffers: list[DmaBuf], planes: list[dict[str, Any]]) -> None:
        self.drawing = drawing
        self.planes = planes
        self._images: list[int] = []
        try:
            for plane in planes:
                image = drawing.egl.image(
                    buffers[plane["buffer"]].fd,
                    plane["width"],
                    plane["height"],
                    code(plane["fourcc"]),
                    plane["stride"],
                    plane["offset"],
                )
                self._images.append(image)
        except BaseException:
            self.close()
            raise

    def read(self) -> bytes:
        """Sample every plane now; returns their bytes one plane after another, without padding."""
        found = []
        for image, plane in zip(self._images, self.planes, strict=True):
            sampled = self.drawing.sample(image, plane["width"], plane["height"])
            found.append(unpack(plane["fourcc"], sampled))
        return b"".join(found)

    def close(self) -> None:
        """Release the images; closing twice does nothing."""
        while self._images:
            self.drawing.egl.forget(self._images.pop())


def gles_import(
    handle: int,
    width: int,
    height: int,
    stride: int | None = None,
    rows: int | None = None,
    fourcc: str = "NV12",
    more: list[int] | None = None,
    strides: list[int] | None = None,
) -> dict[str, Any]:
    """Import a picture into the GPU, so that `gles_read` shows what is in it then.

    ``handle``: its buffer, or that of its first plane, ``more``: of its other planes (`SPLIT`). ``width``,
    ``height``: what is seen; ``stride``, ``rows``, ``strides``: how it lies in memory (`layout`). Returns
    ``picture`` (a handle for `gles_read` and `free`), ``planes`` (`layout`), ``renderer``, ``gl``, ``egl``,
    ``attachments`` now (``None``: no debugfs), ``times``: seconds of ``start`` (long once) and ``import``.
    ``OSError`` EIO with EGL's own error where it is refused, ENOENT where there is no OpenGL.
    """
    planes = layout(fourcc, width, height, stride, rows, strides)
    buffers = [get(one) for one in (handle, *(more or ()))]
    if len(buffers) != planes[-1]["buffer"] + 1:
        raise ValueError(f"{fourcc} lies in {planes[-1]['buffer'] + 1} buffers, not {len(buffers)}")
    began = time.monotonic()
    drawing = sampler()
    started = time.monotonic()
    picture = Picture(drawing, buffers, planes)
    return {
        "picture": HANDLES.add(picture),
        "planes": planes,
        **drawing.egl.describe(),
        "attachments": attachments(*(buffer.inode for buffer in buffers)),
        "times": {"start": started - began, "import": time.monotonic() - started},
    }


def gles_read(picture: int) -> dict[str, Any]:
    """Sample an imported buffer now: ``data`` as `Picture.read` and ``times``: seconds of ``sample``."""
    thing = HANDLES.get(picture)
    if not isinstance(thing, Picture):
        raise TypeError(f"handle {picture} is a {type(thing).__name__}, not a picture")
    began = time.monotonic()
    data = thing.read()
    return {"data": data, "times": {"sample": time.monotonic() - began}}


def gles_sample(handle: int, width: int, height: int, **options: Any) -> dict[str, Any]:
    """Import, sample once and release: what `gles_import` (without ``picture``) and `gles_read` return."""
    found = gles_import(handle, width, height, **options)
    picture = found.pop("picture")
    try:
        sampled = gles_read(picture)
    finally:
        HANDLES.close(picture)
    return {**found, "data": sampled["data"], "times": {**found["times"], **sampled["times"]}}
