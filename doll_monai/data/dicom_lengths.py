"""The lengths that a DICOM file claims, for which GDCM takes memory; pydicom reads on over damaged ones."""

from __future__ import annotations

import os
import struct

SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Types with a length of 16 bits; GDCM as well takes an unknown type for one with a length of 32 bits."""
TRANSFER_SYNTAX = (0x0002, 0x0010)
IMPLICIT, BIG_ENDIAN, DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
UNDEFINED = 0xFFFFFFFF


def check_lengths(path: str | os.PathLike[str]) -> None:
    """Refuse, by an ``OSError``, a deflated DICOM file, or one with an element longer than the file.

    The elements are gone through up to the first of undefined length (a sequence, compressed pixels). A file without
    the 128 bytes in front, or in big endian order, is let pass.
    """
    size, syntax = os.path.getsize(path), b""
    with open(path, "rb") as file:
        if file.read(132)[128:] != b"DICM":
            return
        while len(head := file.read(8)) == 8:
            tag, kind, length = struct.unpack("<HH", head[:4]), head[4:6], struct.unpack("<H", head[6:])[0]
            of_meta = tag[0] == TRANSFER_SYNTAX[0]
            if not of_meta and syntax == BIG_ENDIAN:
                return
            if not kind.isalpha() or (not of_meta and syntax == IMPLICIT):  # no type, a length of 32 bits
                length = struct.unpack("<I", head[4:])[0]
            elif kind not in SHORT:
                length = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
            if length == UNDEFINED:
                return
            if length > size - file.tell():
                raise OSError("an element of it is longer than the file")
            value = file.read(length) if tag == TRANSFER_SYNTAX else file.seek(length, os.SEEK_CUR)
            if isinstance(value, bytes):
                syntax = value.rstrip(b"\0 ")
            if syntax == DEFLATED:
                raise OSError("it is a deflated DICOM file; save it uncompressed")
