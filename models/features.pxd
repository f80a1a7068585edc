# C types of features.py, for where it is compiled.

cimport cython
from libc cimport math
from models cimport around, conduct, labelled, marks, packing, selling, spending, units, usage
from models.conduct cimport CConduct
from models.conduct cimport CFigures as CConductFigures
from models.packing cimport CSelling
from models.selling cimport CSellingFigures, CStanding

cdef long long DAY_S
cdef double PER_DAY


@cython.locals(
    at=cython.longlong, named=dict, seller=str, key=str, x=double, passed=cython.longlong,
    own=CSelling, ways=CConduct, c7=double, s7=double, of_seller=CSellingFigures, row=list,
    updates=dict, mark=cython.longlong, card=str, device=str, customer=str,
    paid_with=cython.longlong, beside=tuple, stranger=bint, buyer=cython.longlong, of_card=tuple,
    spent=tuple, text=str, on_device=tuple, of_device=tuple, of_customer=tuple,
    of_conduct=CConductFigures,
)
cpdef tuple observe(dict states, event, profile, at_ms=*)

cdef tuple _told(str text, long long at)

@cython.locals(days=double, changed=double, foreign=double, since=double)
cdef CStanding _standing(sold_in, profile, long long at, long long first)
