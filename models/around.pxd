# C types of around.py, for where it is compiled.

cimport cython
from models cimport accounts, uplines


@cython.locals(key=str, most=cython.longlong, others=cython.longlong)
cpdef double paid_to(dict states, dict updates, tuple keys, str seller)

@cython.locals(share=double)
cpdef double came_back(dict states, dict updates, str key, long long at, double sold, double back)
