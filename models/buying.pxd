# C types of buying.py, for where it is compiled.

cimport cython
from libc cimport math

ctypedef (long long, double, double) CBuying

ctypedef (double, double, double, double) CBuyingFigures

ctypedef (CBuyingFigures, CBuying) CBought

cdef long long DAY_S, _PRIOR_SALES, _SALES_MAX, _COUNT_MAX
cdef double FIGURE_MAX, NEVER, _USUAL, _USUAL_MIN, _USUAL_MAX, _TAUGHT_MAX


@cython.locals(
    n=cython.longlong, usual=double, spent=double, figures=CBuyingFigures, taught=double,
)
cpdef CBought buy(
    CBuying state, long long passed, double week, double amount, double purchases
)

@cython.locals(usual=double, spent=double)
cpdef bint is_sound(CBuying state)
