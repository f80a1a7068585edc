# C types of accounts.py, for where it is compiled.

cimport cython
from models cimport marks, packing
from models.packing cimport CAccount

cdef long long _FORMAT


@cython.locals(
    seller=cython.longlong, a=cython.longlong, b=cython.longlong, c=cython.longlong,
    d=cython.longlong, e=cython.longlong, f=cython.longlong, g=cython.longlong, h=cython.longlong,
    others=cython.longlong,
)
cpdef tuple paid_to(str text, str seller_id)

@cython.locals(state=CAccount)
cdef CAccount _state(str text)
