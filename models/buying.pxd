# C types of buying.py, for where it is compiled.

cimport cython
from libc cimport math
from models cimport usual

ctypedef (long long, double, double) CBuying

ctypedef (double, double, double, double) CBuyingFigures

ctypedef (CBuyingFigures, CBuying) CBought

cdef long long DAY_S, _COUNT_MAX
cdef double FIGURE_MAX, NEVER


@cython.locals(
    n=cython.longlong, mean=double, spent=double, figures=CBuyingFigures, after=double,
)
cpdef CBought buy(
    CBuying state, long long passed, double week, double amount, double purchases
)

@cython.locals(mean=double, spent=double)
cpdef bint is_sound(CBuying state)
