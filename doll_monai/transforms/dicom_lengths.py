"""A look at the lengths that a DICOM file claims, before a library takes as much memory as they say."""

from __future__ import annotations

import os
import struct

SHORT = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # types with a length of 16 bits
)
TRANSFER_SYNTAX = (0x0002, 0x0010)
IMPLICIT, BIG_ENDIAN, DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
UNDEFINED = 0xFFFFFFFF


def check_lengths(path: str | os.PathLike[str]) -> None:
    """Refuse a DICOM file in which an element is longer than the file, as damaged ones have it, or that is deflated.

    The elements are gone through up to the first of undefined length (a sequence, compressed pixels). A file without
    the 128 bytes in front, or in big endian order, is let pass.

    Raises:
        OSError: when it is such a file.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(132)[128:] != b"DICM":
            return
        syntax = b""
        while len(head := file.read(8)) == 8:
            tag = struct.unpack("<HH", head[:4])
            kind, length = head[4:6], struct.unpack("<H", head[6:])[0]
            if tag[0] != TRANSFER_SYNTAX[0] and syntax == BIG_ENDIAN:
                return
            implicit = tag[0] != TRANSFER_SYNTAX[0] and syntax == IMPLICIT
            if implicit or not kind.isalpha():  # no type, a length of 32 bits
                length = struct.unpack("<I", head[4:])[0]
            elif kind not in SHORT:  # GDCM as well takes an unknown type for one with a length of 32 bits
                length = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
            if length == UNDEFINED:
                return
            if length > size - file.tell():
                raise OSError("an element of it is longer than the file")
            if tag == TRANSFER_SYNTAX:
                syntax = file.read(length).rstrip(b"\0 ")
                if syntax == DEFLATED:
                    raise OSError("it is a deflated DICOM file; save it uncompressed")
            else:
                file.seek(length, os.SEEK_CUR)
