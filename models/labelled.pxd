# C types of labelled.py, for where it is compiled.

cimport cython
from libc cimport math
from models cimport packing
from models.packing cimport CLabels

ctypedef (double, double, double, double, double, double) CFigures

cdef long long DAY_S, _RUN_MAX
cdef double FIGURE_MAX, NEVER, PER_MONTH


@cython.locals(
    last=cython.longlong, frauds=double, genuine=double, genuine_last=cython.longlong,
    first=cython.longlong, fraud_last=cython.longlong, run=cython.longlong, faded=double,
)
cpdef CFigures known(str text, long long at)

cdef double _days(long long at, long long since)

@cython.locals(
    last=cython.longlong, frauds=double, genuine=double, genuine_last=cython.longlong,
    first=cython.longlong, fraud_last=cython.longlong, state=CLabels,
)
cdef CLabels _state(str text)
