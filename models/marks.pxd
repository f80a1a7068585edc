# What marks.py does, in C, for the modules that are compiled.

from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #include <stdint.h>

    /* CRC-32 of ISO 3309, reflected, four bits at a time. */
    static uint32_t payouts_crc32(const unsigned char *bytes, Py_ssize_t length) {
        static const uint32_t table[16] = {
            0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158,
            0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4,
            0xa00ae278, 0xbdbdf21c
        };
        uint32_t crc = 0xffffffff;
        for (Py_ssize_t i = 0; i < length; i++) {
            crc ^= bytes[i];
            crc = (crc >> 4) ^ table[crc & 15];
            crc = (crc >> 4) ^ table[crc & 15];
        }
        return ~crc;
    }
    """
    uint32_t payouts_crc32(const unsigned char *bytes, Py_ssize_t length)

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *length) except NULL


cdef inline long long crc32(str name) except -1:
    cdef Py_ssize_t length
    cdef const char *text = PyUnicode_AsUTF8AndSize(name, &length)
    return payouts_crc32(<const unsigned char *>text, length)


cdef inline long long mark16(str name) except -1:
    return crc32(name) % 65535 + 1


cdef inline long long mark32(str name) except -1:
    return crc32(name) or 1
