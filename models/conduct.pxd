# C types of conduct.py, for where it is compiled.

cimport cython
from libc cimport math

ctypedef (
    long long, double, double, double, double, long long, long long, long long, long long,
    long long, long long
) CConduct

ctypedef (double, double, double, double, double, double) CFigures

ctypedef (CFigures, CConduct) CConducted

cdef long long DAY_S, _LINKED_S
cdef double PER_HOUR, PER_WEEK, _ALIKE, _VOLUME


@cython.locals(
    seen=cython.longlong, alike=double, strangers=double, own=double, last=double,
    own_card=cython.longlong, a=cython.longlong, b=cython.longlong, c=cython.longlong,
    d=cython.longlong, linked=cython.longlong, passed=cython.longlong, hour=double, share=double,
    same=double, buys=double, others=cython.longlong, met=set, mark=cython.longlong,
    end=cython.longlong, figures=CFigures,
)
cpdef CConducted conduct(
    CConduct state, long long at, double size, double sold, bint herself, long long card,
    bint stranger, tuple beside
)

cdef long long _end(long long at)
