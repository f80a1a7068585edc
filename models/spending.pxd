# C types of spending.py, for where it is compiled.

cimport cython
from libc cimport math
from models cimport usual

ctypedef (
    long long, long long, double, double, double, double, long long, long long, long long,
    long long
) CSpending

ctypedef (
    double, double, double, double, double, double, double, double, double, double, double
) CSpendingFigures

ctypedef (CSpendingFigures, CSpending) CSpent

cdef long long DAY_S, _COUNT_MAX
cdef double FIGURE_MAX, NEVER, PER_MONTH
cdef double _HIGH, _WEIGHT_MAX, _HIGH_LOG


cpdef CSpending no_spending(long long at)

@cython.locals(
    first=cython.longlong, n=cython.longlong, mean=double, spent=double, high=double,
    high28=double, one=cython.longlong, two=cython.longlong, three=cython.longlong,
    four=cython.longlong, ratio=double, age=double, figures=CSpendingFigures,
    after=double, more=double,
)
cpdef CSpent spend(
    CSpending state, long long at, long long passed, double week, double amount, double payments
)

cpdef bint is_high(double against_own)

@cython.locals(
    mean=double, spent=double, high=double, high28=double, one=cython.longlong,
    two=cython.longlong, three=cython.longlong, four=cython.longlong,
)
cpdef bint is_sound(CSpending state, long long last)
