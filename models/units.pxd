# C types of units.py, for where it is compiled.

cimport cython

cdef double _AMOUNT_MAX
cdef dict _scales


@cython.locals(amount=double)
cpdef double reference(double amount_minor, currency)
