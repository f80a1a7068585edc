# C types of uplines.py, for where it is compiled.

cimport cython
from libc cimport math
from models cimport packing
from models.packing cimport CTeam

cdef long long _FORMAT
cdef double FIGURE_MAX, PER_WEEK, _VOLUME


@cython.locals(
    last=cython.longlong, before=double, back=double, faded=double, share=double, after=str,
)
cpdef tuple team(str text, long long at, double sold, double returned)

@cython.locals(state=CTeam, form=cython.longlong, sold=double, returned=double)
cdef CTeam _state(str text)
