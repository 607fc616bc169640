"""What of a file is in the kernel's page cache, as mincore(2) tells it."""

import ctypes
import mmap

_libc = ctypes.CDLL(None, use_errno=True)


def cached_pages(mapped):
    """Of a read-only mmap.mmap; looking does not bring a page in."""
    view = memoryview(mapped)
    # A buffer of a read-only mapping has no ctypes view; its address comes from the C API.
    class PyBuffer(ctypes.Structure):
        _fields_ = [("buf", ctypes.c_void_p), ("rest", ctypes.c_byte * 256)]

    buffer = PyBuffer()
    get, release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    get.argtypes = [ctypes.py_object, ctypes.POINTER(PyBuffer), ctypes.c_int]
    release.argtypes = [ctypes.POINTER(PyBuffer)]
    get(view, ctypes.byref(buffer), 0)
    try:
        pages = (len(mapped) + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        vector = (ctypes.c_ubyte * pages)()
        address, size = ctypes.c_void_p(buffer.buf), ctypes.c_size_t(len(mapped))
        if _libc.mincore(address, size, vector) != 0:
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(byte & 1 for byte in vector)
    finally:
        release(ctypes.byref(buffer))
        view.release()
