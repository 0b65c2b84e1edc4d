"""Arrow's C data interface in Python: structures of compiled parts, handed over in capsules without a copy."""

from __future__ import annotations

from ctypes import PYFUNCTYPE, c_char_p, c_void_p, py_object, pythonapi
from typing import Any


class Exported:
    """An array of the Arrow C data interface, for whoever imports it.

    Args:
        schema: the address of its ArrowSchema.
        array: the address of its ArrowArray.
    """

    def __init__(self, schema: int, array: int) -> None:
        self._schema = schema
        self._array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[Any, Any]:
        """See https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html."""
        # Without destructors: what is not taken from them belongs to who has the structures.
        return _new_capsule(self._schema, b"arrow_schema", None), _new_capsule(self._array, b"arrow_array", None)


def stream_in(capsule: object) -> int:
    """The address of the stream in a capsule, which has to live as long as the stream is read."""
    return int(_pointer_in(capsule, b"arrow_array_stream"))


_new_capsule = PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", pythonapi))
_pointer_in = PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", pythonapi))
