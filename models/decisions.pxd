# C types of decisions.py, for where it is compiled.

cimport cython
from libc cimport math

cdef long long BASIS_POINTS

cpdef standing_of(profile)

cdef _decide(
    score, amount_minor, currency, policy, standing, explain, fits, draw
)

cdef _cost(score, amount_minor, currency, policy)

cdef long long _share(double score, cost, currency, policy) except -1
