# C types of features.py, for where it is compiled.

cimport cython
from libc cimport math
from models cimport buying, conduct, labelled, packing, spending, units
from models.buying cimport CBuying, CBuyingFigures
from models.conduct cimport CConduct
from models.conduct cimport CFigures as CConductFigures
from models.packing cimport CCard, CCustomer, CSelling, CUse
from models.spending cimport CSpending, CSpendingFigures

ctypedef (long long, CSelling, CConduct) CKnown

ctypedef (double, double, double, double, double, double, double) CCardFigures

ctypedef (double, double, double, double, double) CDeviceFigures

ctypedef (
    double, double, double, double, double, double, double, double, double, double
) CCustomerFigures

ctypedef (
    CUse, double, double, double, double, double, double, double, long long, double
) CUsed

cdef long long DAY_S, _COUNT_MAX, _PRIOR_SALES, _SALES_MAX, _FORMAT
cdef double FIGURE_MAX, NEVER, PER_DAY, PER_HOUR, PER_WEEK
cdef double _SPREAD_MAX, _HOURS_A_WEEK, _DAYS_A_WEEK, _MEAN, _VARIANCE
cdef double _SURPRISE_MAX, _LEARN_MAX, _VOLUME, _VARIANCE_MIN, _GAP_MIN


@cython.locals(
    at=cython.longlong, seller=str, key=str, x=double, passed=cython.longlong, selling=CSelling,
    ways=CConduct, form=cython.longlong, last=cython.longlong, first=cython.longlong,
    n=cython.longlong, mean=double, variance=double, c1=double, c24=double, c7=double, s24=double,
    s7=double, r7=double, level=double, spread=double, surprise=double, tenure=double,
    changed=double, foreign=double, row=list, updates=dict, mark=cython.longlong, card=str,
    device=str, paid_with=cython.longlong, beside=tuple, stranger=bint, buyer=cython.longlong,
    of_card=CCardFigures, spent=CSpendingFigures, text=str, around=tuple,
    of_device=CDeviceFigures, of_customer=CCustomerFigures, of_conduct=CConductFigures,
)
cpdef tuple observe(states, event, profile, at_ms=*)

@cython.locals(
    use=CUse, before=CSpending, used=CUse, t1=double, t24=double, t7=double, fresh=double,
    others=double, changed=double, passed=cython.longlong, week=double, spent=CSpendingFigures,
    after=CSpending, share=double, figures=CCardFigures,
)
cdef tuple _card(
    str text, long long at, long long seller, long long customer, double seller_sales,
    double amount
)

@cython.locals(
    used=CUse, t1=double, t7=double, fresh=double, others=double, new=double,
    figures=CDeviceFigures,
)
cdef tuple _device(str text, long long at, long long seller)

@cython.locals(
    use=CUse, before=CBuying, used=CUse, t1=double, t24=double, t7=double, fresh=double,
    others=double, changed=double, passed=cython.longlong, week=double, bought=CBuyingFigures,
    after=CBuying, experience=double, pause=double, against_own=double, spent=double,
    figures=CCustomerFigures,
)
cdef tuple _customer(str text, long long at, long long seller, long long card, double amount)

cdef tuple _told(str text, long long at)

cdef double _within(double value, double bound)

@cython.locals(weight=cython.longlong, step=double)
cdef (double, double) _learnt(
    double surprise, double spread, long long n, double mean, double variance
)

@cython.locals(days=double, changed=double, foreign=double, since=double)
cdef (double, double, double) _standing(event, profile, long long at, long long first)

@cython.locals(
    selling=CSelling, ways=CConduct, form=cython.longlong, last=cython.longlong,
    first=cython.longlong, n=cython.longlong, mean=double, variance=double, c1=double,
    c24=double, c7=double, s24=double, s7=double, r7=double, passed=cython.longlong, day=double,
    week=double,
)
cdef CKnown _seller(str text, long long at)

@cython.locals(day=cython.longlong)
cdef CKnown _fresh_seller(long long at)

@cython.locals(
    last=cython.longlong, t1=double, t24=double, t7=double, fresh=double, known=cython.longlong,
    a=cython.longlong, b=cython.longlong, c=cython.longlong, d=cython.longlong,
    passed=cython.longlong, week=double, new=double, others=double, used=CUse, other=double,
)
cdef CUsed _use(CUse use, long long at, long long seller, long long beside)

cdef CUse _unused(long long at)

@cython.locals(use=CUse)
cdef CUse _device_state(str text, long long at)

@cython.locals(use=CUse, spent=CSpending)
cdef CCard _card_state(str text, long long at)

@cython.locals(use=CUse, bought=CBuying)
cdef CCustomer _customer_state(str text, long long at)

@cython.locals(form=cython.longlong, t1=double, t24=double, t7=double, fresh=double)
cdef bint _is_sound(CUse use)
