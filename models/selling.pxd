# C types of selling.py, for where it is compiled.

cimport cython
from libc cimport math
from models cimport packing
from models.conduct cimport CConduct
from models.packing cimport CSelling

ctypedef (double, double, double) CStanding

ctypedef (
    double, double, double, double, double, double, double, double, double, double, double, double
) CSellingFigures

ctypedef (CSellingFigures, CSelling) CSold

ctypedef (long long, CSelling, CConduct) CKnown

cdef long long DAY_S, _COUNT_MAX, _PRIOR_SALES, _SALES_MAX, _FORMAT
cdef double FIGURE_MAX, PER_DAY, PER_HOUR, PER_WEEK
cdef double _SPREAD_MAX, _HOURS_A_WEEK, _DAYS_A_WEEK, _MEAN, _VARIANCE
cdef double _SURPRISE_MAX, _LEARN_MAX, _VOLUME, _VARIANCE_MIN, _GAP_MIN


@cython.locals(
    form=cython.longlong, last=cython.longlong, first=cython.longlong, n=cython.longlong,
    mean=double, variance=double, c1=double, c24=double, c7=double, s24=double, s7=double,
    r7=double, tenure=double, changed=double, foreign=double, level=double, spread=double,
    surprise=double, figures=CSellingFigures,
)
cpdef CSold sell(CSelling selling, long long passed, double amount, CStanding standing)

@cython.locals(
    form=cython.longlong, last=cython.longlong, first=cython.longlong, n=cython.longlong,
    mean=double, variance=double, c1=double, c24=double, c7=double, s24=double, s7=double,
    r7=double,
)
cpdef CSelling returned(CSelling selling, double amount)

cdef double _within(double value, double bound)

@cython.locals(weight=cython.longlong, step=double)
cdef (double, double) _learnt(
    double surprise, double spread, long long n, double mean, double variance
)

@cython.locals(
    selling=CSelling, ways=CConduct, form=cython.longlong, last=cython.longlong,
    first=cython.longlong, n=cython.longlong, mean=double, variance=double, c1=double,
    c24=double, c7=double, s24=double, s7=double, r7=double, passed=cython.longlong, day=double,
    week=double,
)
cpdef CKnown known(str text, long long at)

@cython.locals(day=cython.longlong)
cdef CKnown _new(long long at)

