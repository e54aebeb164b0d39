"""EGL and OpenGL ES 2 by ctypes: contexts without a window, images of dma-bufs.

Headers: EGL/egl.h, EGL/eglext.h, GLES2/gl2.h, GLES2/gl2ext.h. Import of dma-bufs:
EGL_EXT_image_dma_buf_import.
"""

from __future__ import annotations

import ctypes
import os

from . import drm, files, virtgpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SURFACELESS = 0x31DD  # EGL_PLATFORM_SURFACELESS_MESA
DEVICE = 0x313F  # EGL_PLATFORM_DEVICE_EXT
GBM = 0x31D7  # EGL_PLATFORM_GBM_KHR
OPENGL_ES_API = 0x30A0
NONE, SURFACE_TYPE, RENDERABLE_TYPE, OPENGL_ES2_BIT, CLIENT_VERSION = 0x3038, 0x3033, 0x3040, 4, 0x3098
VENDOR, VERSION, EXTENSIONS = 0x3053, 0x3054, 0x3055
LINUX_DMA_BUF = 0x3270
WIDTH, HEIGHT, FOURCC, FD, OFFSET, PITCH = 0x3057, 0x3056, 0x3271, 0x3272, 0x3273, 0x3274
GL_RENDERER, GL_VERSION = 0x1F01, 0x1F02

# llvmpipe, and its code as it comes: to optimise it takes ten seconds on an emulated CPU, to run it nothing.
SOFTWARE = {"LIBGL_ALWAYS_SOFTWARE": "1", "GALLIVM_PERF": "nopt"}

# Drivers of devices that draw nothing by themselves. Where there are no others Mesa would still take one of
# them for surfaceless EGL and then fail to import (kms_swrast); it is told to draw in software instead.
NO_GPU = {"vgem", "vkms", "virtio_gpu", "virtio-pci"}

ERRORS = {
    0x3001: "EGL_NOT_INITIALIZED",
    0x3002: "EGL_BAD_ACCESS",
    0x3003: "EGL_BAD_ALLOC",
    0x3004: "EGL_BAD_ATTRIBUTE",
    0x3005: "EGL_BAD_CONFIG",
    0x3006: "EGL_BAD_CONTEXT",
    0x3008: "EGL_BAD_DISPLAY",
    0x3009: "EGL_BAD_MATCH",
    0x300C: "EGL_BAD_PARAMETER",
}

_pointer, _int, _uint, _text = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p
_ints = ctypes.POINTER(_int)
# name -> result, arguments; what is missing here returns and takes C ints
_EGL: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "eglGetProcAddress": (_pointer, (_text,)),
    "eglInitialize": (_uint, (_pointer, _ints, _ints)),
    "eglBindAPI": (_uint, (_uint,)),
    "eglChooseConfig": (_uint, (_pointer, _ints, ctypes.POINTER(_pointer), _int, _ints)),
    "eglCreateContext": (_pointer, (_pointer, _pointer, _pointer, _ints)),
    "eglMakeCurrent": (_uint, (_pointer, _pointer, _pointer, _pointer)),
    "eglQueryString": (_text, (_pointer, _int)),
    "eglGetError": (_int, ()),
}
_EXTENSIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "eglQueryDevicesEXT": (_uint, (_int, ctypes.POINTER(_pointer), _ints)),
    "eglQueryDeviceStringEXT": (_text, (_pointer, _int)),
    "eglGetPlatformDisplayEXT": (_pointer, (_uint, _pointer, _ints)),
    "eglCreateImageKHR": (_pointer, (_pointer, _pointer, _uint, _pointer, _ints)),
    "eglDestroyImageKHR": (_uint, (_pointer, _pointer)),
    "glEGLImageTargetTexture2DOES": (None, (_uint, _pointer)),
}


class GraphicsError(OSError):
    """EGL or OpenGL refused. ``errno`` is EIO; the message names the call and the library's own error."""

    def __init__(self, message: str) -> None:
        super().__init__(5, message)


def software() -> bool:
    """Whether no device of this machine can draw: no GPU's driver, no virtio-gpu with 3D."""
    for name in files.listing("/sys/class/drm"):
        if name.startswith("renderD") and not drm.drivers(name) & NO_GPU:
            return False
    try:
        fd = virtgpu.open_node()
    except OSError:
        return True
    try:
        return not virtgpu.param(fd, "3d")
    finally:
        os.close(fd)


class Egl:
    """A display and a current OpenGL ES 2 context, for the process's life: Mesa takes seconds."""

    def __init__(self, platform: int = SURFACELESS, native: int | None = None) -> None:
        """Open ``platform``; ``native``: its display, as a gbm_device. `GraphicsError` if that fails."""
        if "LIBGL_ALWAYS_SOFTWARE" not in os.environ and software():
            os.environ.update(SOFTWARE)  # reaches the libraries: os.environ calls setenv(3)
        try:
            self.egl = ctypes.CDLL("libEGL.so.1")
            self.gl = ctypes.CDLL("libGLESv2.so.2")
        except OSError as error:
            raise OSError(2, f"no OpenGL ES in this image: {error}") from None
        for name, (result, arguments) in _EGL.items():
            function = getattr(self.egl, name)
            function.restype, function.argtypes = result, arguments
        self.calls = {name: self._extension(name, *kind) for name, kind in _EXTENSIONS.items()}
        if platform == SURFACELESS and os.environ.get("LIBGL_ALWAYS_SOFTWARE"):
            platform, native = DEVICE, self._software_device()
        self.display = self.calls["eglGetPlatformDisplayEXT"](platform, native, None)
        self._check(self.display, "eglGetPlatformDisplay")
        self._check(self.egl.eglInitialize(self.display, None, None), "eglInitialize")
        self._check(self.egl.eglBindAPI(OPENGL_ES_API), "eglBindAPI")
        config, count = _pointer(), _int()
        wanted = attributes({SURFACE_TYPE: 0, RENDERABLE_TYPE: OPENGL_ES2_BIT})
        found = self.egl.eglChooseConfig(self.display, wanted, config, 1, count)
        self._check(found and count.value, "eglChooseConfig")
        context = self.egl.eglCreateContext(self.display, config, None, attributes({CLIENT_VERSION: 2}))
        self._check(context, "eglCreateContext")
        self.context = context
        self.current()

    def current(self) -> None:
        """Make this context the thread's."""
        self._check(self.egl.eglMakeCurrent(self.display, None, None, self.context), "eglMakeCurrent")

    def describe(self) -> dict[str, Any]:
        """Return ``egl`` and ``gl`` (versions), ``renderer``: what draws (llvmpipe, virgl, Mali-G610...)."""
        self.gl.glGetString.restype = _text
        strings = [self.gl.glGetString(name) for name in (GL_VERSION, GL_RENDERER)]
        version = self.egl.eglQueryString(self.display, VERSION)
        egl, gl, renderer = ((text or b"").decode(errors="replace") for text in (version, *strings))
        return {"egl": egl, "gl": gl, "renderer": renderer}

    def image(self, fd: int, width: int, height: int, code: int, stride: int, offset: int = 0) -> int:
        """Import one plane of a dma-buf and return the EGLImage; `GraphicsError` where it is refused."""
        wanted = attributes(
            {WIDTH: width, HEIGHT: height, FOURCC: code, FD: fd, OFFSET: offset, PITCH: stride}
        )
        image = self.calls["eglCreateImageKHR"](self.display, None, LINUX_DMA_BUF, None, wanted)
        self._check(image, f"eglCreateImage of a {width}x{height} plane at {offset}, {stride} bytes a row")
        return int(image)

    def forget(self, image: int) -> None:
        """Destroy an EGLImage."""
        self.calls["eglDestroyImageKHR"](self.display, image)

    def texture(self, target: int, image: int) -> None:
        """Make an EGLImage the content of the texture that is bound to ``target``."""
        self.calls["glEGLImageTargetTexture2DOES"](target, image)

    def gl_check(self, what: str) -> None:
        """Raise `GraphicsError` if OpenGL noted an error since it was last asked."""
        if code := self.gl.glGetError():
            raise GraphicsError(f"{what}: OpenGL error {code:#06x}")

    def _extension(self, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
        address = self.egl.eglGetProcAddress(name.encode())
        if not address:
            raise GraphicsError(f"this EGL has no {name}")
        return ctypes.CFUNCTYPE(result, *arguments)(address)

    def _software_device(self) -> int:
        """Return the EGL device that is the CPU.

        Surfaceless EGL in software still goes through any DRM device that there is, vgem too, and fails.
        """
        devices, count = (_pointer * 16)(), _int()
        self._check(self.calls["eglQueryDevicesEXT"](16, devices, count), "eglQueryDevices")
        for device in devices[: count.value]:
            extensions = self.calls["eglQueryDeviceStringEXT"](device, EXTENSIONS) or b""
            if device is not None and b"EGL_MESA_device_software" in extensions:
                return device
        raise GraphicsError("this EGL cannot draw in software")

    def _check(self, good: object, what: str) -> None:
        if not good:
            code = self.egl.eglGetError()
            raise GraphicsError(f"{what}: {ERRORS.get(code, hex(code))}")


def attributes(pairs: dict[int, int]) -> Any:
    """Return an attribute list as EGL takes it."""
    flat = [number for pair in pairs.items() for number in pair]
    return (_int * (len(flat) + 1))(*flat, NONE)
