# C types of usual.py, for where it is compiled.

cimport cython

cdef long long _PRIOR_SALES, _SALES_MAX
cdef double _HIGH, _USUAL_MIN, _USUAL_MAX


@cython.locals(weight=cython.longlong)
cpdef double learnt(double usual, double amount, long long n)

cpdef bint is_sound(double usual)
