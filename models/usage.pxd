# C types of usage.py, for where it is compiled.

cimport cython
from libc cimport math
from models cimport buying, packing, spending
from models.buying cimport CBuying, CBuyingFigures
from models.packing cimport CBought, CCard, CUse
from models.spending cimport CSpending, CSpendingFigures

ctypedef (double, double, double, double, double, double, double) CCardFigures

ctypedef (
    double, double, double, double, double, double, double, double, double
) CDeviceFigures

ctypedef (
    double, double, double, double, double, double, double, double, double, double
) CCustomerFigures

ctypedef (
    CUse, double, double, double, double, double, double, double, long long, double
) CUsed

cdef long long _FORMAT
cdef double FIGURE_MAX, PER_DAY, PER_HOUR, PER_WEEK


@cython.locals(
    use=CUse, before=CSpending, used=CUse, t1=double, t24=double, t7=double, fresh=double,
    others=double, changed=double, passed=cython.longlong, week=double, spent=CSpendingFigures,
    after=CSpending, share=double, figures=CCardFigures,
)
cpdef tuple card(
    str text, long long at, long long seller, long long customer, double seller_sales,
    double amount
)

@cython.locals(
    use=CUse, before=CBuying, used=CUse, t1=double, t7=double, fresh=double, others=double,
    new=double, passed=cython.longlong, week=double, bought=CBuyingFigures, after=CBuying,
    experience=double, pause=double, against_own=double, spent=double, figures=CDeviceFigures,
)
cpdef tuple device(str text, long long at, long long seller, double amount)

@cython.locals(
    use=CUse, before=CBuying, used=CUse, t1=double, t24=double, t7=double, fresh=double,
    others=double, changed=double, passed=cython.longlong, week=double, bought=CBuyingFigures,
    after=CBuying, experience=double, pause=double, against_own=double, spent=double,
    figures=CCustomerFigures,
)
cpdef tuple customer(str text, long long at, long long seller, long long card, double amount)

@cython.locals(
    last=cython.longlong, t1=double, t24=double, t7=double, fresh=double, known=cython.longlong,
    a=cython.longlong, b=cython.longlong, c=cython.longlong, d=cython.longlong,
    passed=cython.longlong, week=double, new=double, others=double, used=CUse, other=double,
)
cdef CUsed _use(CUse use, long long at, long long seller, long long beside)

cdef CUse _unused(long long at)

@cython.locals(use=CUse, spent=CSpending)
cdef CCard _card_state(str text, long long at)

@cython.locals(use=CUse, bought=CBuying)
cdef CBought _bought_state(str text, long long at)

@cython.locals(form=cython.longlong, t1=double, t24=double, t7=double, fresh=double)
cdef bint _is_sound(CUse use)
