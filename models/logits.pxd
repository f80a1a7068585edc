# C types of logits.py, for where it is compiled.

cimport cython
from libc cimport math

cdef double _LOGIT_MAX


@cython.locals(
    width=cython.Py_ssize_t, products=cython.Py_ssize_t, k=cython.Py_ssize_t, total=double,
    found=list, row=list, values=cython.double[::1],
)
cpdef list logits(
    list rows, const double[::1] means, const double[::1] scales, const long long[::1] left,
    const long long[::1] right, const double[::1] weights, double bound, double intercept
)

@cython.locals(
    width=cython.Py_ssize_t, products=cython.Py_ssize_t, k=cython.Py_ssize_t, term=double,
    values=cython.double[::1], found=cython.double[::1],
    factors="const long long[::1]",
)
cpdef list shares(
    list row, const double[::1] means, const double[::1] scales, const long long[::1] left,
    const long long[::1] right, const double[::1] weights, double bound
)

@cython.locals(logit=double, bounded=double)
cpdef list probabilities(list found)

@cython.locals(width=cython.Py_ssize_t, k=cython.Py_ssize_t, value=double)
cdef int _standardise(
    list row, const double[::1] means, const double[::1] scales, double bound, double[::1] values
) except -1
