# What packing.py does, in C, for the modules that are compiled.
#
# Only a text of the right length and alphabet is read here, and only figures that fit are written:
# everything else goes through packing.py, so both take and refuse the same. Little-endian machines
# only (setup.py).

from libc.math cimport fabs
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from models.buying cimport CBuying
from models.conduct cimport CConduct
from models.spending cimport CSpending

ctypedef (
    long long, long long, long long, long long, double, double, double, double, double, double,
    double, double
) CSelling

ctypedef (CSelling, CConduct) CSeller

ctypedef (
    long long, long long, double, double, double, double, long long, long long, long long,
    long long, long long
) CUse

ctypedef (CUse, CSpending) CCard

ctypedef (CUse, CBuying) CBought

ctypedef (long long, double, double, long long, long long, long long, long long) CLabels

ctypedef (long long, long long, double, double) CTeam

ctypedef (
    long long, long long, long long, long long, long long, long long, long long, long long,
    long long
) CAccount

cdef packed struct SellerBytes:
    uint8_t form
    uint32_t last
    uint16_t first, n
    float figures[8]
    uint32_t seen
    float ways[4]
    uint16_t marks[5]
    uint32_t linked

cdef packed struct UseBytes:
    uint8_t form
    uint32_t last
    float figures[4]
    uint16_t marks[5]

cdef packed struct CardBytes:
    UseBytes use
    uint16_t first, n
    float spent[4]
    uint32_t times[4]
    uint8_t rest[2]

cdef packed struct BoughtBytes:
    UseBytes use
    uint16_t n
    float usual, spent
    uint8_t rest

cdef packed struct LabelsBytes:
    uint32_t last
    float frauds, genuine
    uint32_t times[3]
    uint16_t run
    uint8_t rest

cdef packed struct AccountBytes:
    uint8_t form
    uint32_t marks[8]

cdef packed struct TeamBytes:
    uint8_t form
    uint32_t last
    float sold, returned
    uint8_t rest[2]

cdef extern from *:
    """
    static const char payouts_digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /* What a digit stands for; 64 for what is none. */
    static const unsigned char payouts_values[128] = {
        64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
        64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
        64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64, 64, 63,
        52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64,
        64,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
        15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 64,
        64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
        41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
    };
    """
    const char *payouts_digits
    const uint8_t *payouts_values

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    void *PyUnicode_DATA(object text)
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)


cdef inline str written(const uint8_t *raw, Py_ssize_t size):
    """Bytes, a multiple of three, in base64."""
    cdef str text = PyUnicode_New(size // 3 * 4, 127)
    cdef char *digits = <char *>PyUnicode_DATA(text)
    cdef Py_ssize_t k
    for k in range(size // 3):
        digits[0] = payouts_digits[raw[0] >> 2]
        digits[1] = payouts_digits[(raw[0] & 3) << 4 | raw[1] >> 4]
        digits[2] = payouts_digits[(raw[1] & 15) << 2 | raw[2] >> 6]
        digits[3] = payouts_digits[raw[2] & 63]
        digits += 4
        raw += 3
    return text


cdef inline bint was_read(str text, uint8_t *raw, Py_ssize_t size) noexcept:
    """Whether a text is of so many bytes in base64 and nothing else; they are in ``raw`` then."""
    cdef const uint8_t *digits
    cdef uint8_t a, b, c, d, every = 0
    cdef Py_ssize_t k
    if text is None or not PyUnicode_IS_COMPACT_ASCII(text):
        return False
    if PyUnicode_GET_LENGTH(text) != size // 3 * 4:
        return False
    digits = <const uint8_t *>PyUnicode_DATA(text)
    for k in range(size // 3):
        a = payouts_values[digits[0]]
        b = payouts_values[digits[1]]
        c = payouts_values[digits[2]]
        d = payouts_values[digits[3]]
        every |= a | b | c | d
        raw[0] = a << 2 | b >> 4
        raw[1] = b << 4 | c >> 2
        raw[2] = c << 6 | d
        digits += 4
        raw += 3
    return every < 64


cdef inline bint short(long long value) noexcept:
    return 0 <= value <= 0xFFFF


cdef inline bint whole(long long value) noexcept:
    return 0 <= value <= 0xFFFFFFFF


cdef inline bint single(double value) noexcept:
    """Whether it is a finite 32-bit float, but for rounding."""
    return fabs(value) < 3e38


cdef inline str seller_text(CSelling selling, CConduct ways):
    cdef SellerBytes raw
    if not (
        0 <= selling[0] <= 0xFF
        and whole(selling[1]) and short(selling[2]) and short(selling[3])
        and single(selling[4]) and single(selling[5]) and single(selling[6])
        and single(selling[7]) and single(selling[8]) and single(selling[9])
        and single(selling[10]) and single(selling[11])
        and whole(ways[0]) and single(ways[1]) and single(ways[2]) and single(ways[3])
        and single(ways[4]) and short(ways[5]) and short(ways[6]) and short(ways[7])
        and short(ways[8]) and short(ways[9]) and whole(ways[10])
    ):
        from models import packing
        return packing.seller_text(selling, ways)
    raw.form, raw.last, raw.first, raw.n = selling[0], selling[1], selling[2], selling[3]
    raw.figures[0], raw.figures[1], raw.figures[2] = selling[4], selling[5], selling[6]
    raw.figures[3], raw.figures[4], raw.figures[5] = selling[7], selling[8], selling[9]
    raw.figures[6], raw.figures[7] = selling[10], selling[11]
    raw.seen = ways[0]
    raw.ways[0], raw.ways[1], raw.ways[2], raw.ways[3] = ways[1], ways[2], ways[3], ways[4]
    raw.marks[0], raw.marks[1], raw.marks[2] = ways[5], ways[6], ways[7]
    raw.marks[3], raw.marks[4], raw.linked = ways[8], ways[9], ways[10]
    return written(<const uint8_t *>&raw, sizeof(raw))


cdef inline CSeller read_seller(str text) except *:
    cdef SellerBytes raw
    if not was_read(text, <uint8_t *>&raw, sizeof(raw)):
        from models import packing
        return packing.read_seller(text)
    return (
        (
            raw.form, raw.last, raw.first, raw.n, raw.figures[0], raw.figures[1],
            raw.figures[2], raw.figures[3], raw.figures[4], raw.figures[5], raw.figures[6],
            raw.figures[7],
        ),
        (
            raw.seen, raw.ways[0], raw.ways[1], raw.ways[2], raw.ways[3], raw.marks[0],
            raw.marks[1], raw.marks[2], raw.marks[3], raw.marks[4], raw.linked,
        ),
    )


cdef inline bint fits(CUse use) noexcept:
    """Whether what a card, a device and a customer have in common can be written."""
    return (
        0 <= use[0] <= 0xFF and whole(use[1])
        and single(use[2]) and single(use[3]) and single(use[4]) and single(use[5])
        and short(use[6]) and short(use[7]) and short(use[8]) and short(use[9])
        and short(use[10])
    )


cdef inline UseBytes packed_use(CUse use) noexcept:
    cdef UseBytes raw
    raw.form, raw.last = use[0], use[1]
    raw.figures[0], raw.figures[1], raw.figures[2], raw.figures[3] = use[2], use[3], use[4], use[5]
    raw.marks[0], raw.marks[1], raw.marks[2] = use[6], use[7], use[8]
    raw.marks[3], raw.marks[4] = use[9], use[10]
    return raw


cdef inline CUse unpacked_use(UseBytes raw) noexcept:
    return (
        raw.form, raw.last, raw.figures[0], raw.figures[1], raw.figures[2], raw.figures[3],
        raw.marks[0], raw.marks[1], raw.marks[2], raw.marks[3], raw.marks[4],
    )


cdef inline str card_text(CUse use, CSpending spent):
    cdef CardBytes raw
    if not (
        fits(use)
        and short(spent[0]) and short(spent[1])
        and single(spent[2]) and single(spent[3]) and single(spent[4]) and single(spent[5])
        and whole(spent[6]) and whole(spent[7]) and whole(spent[8]) and whole(spent[9])
    ):
        from models import packing
        return packing.card_text(use, spent)
    raw.use = packed_use(use)
    raw.first, raw.n = spent[0], spent[1]
    raw.spent[0], raw.spent[1], raw.spent[2], raw.spent[3] = spent[2], spent[3], spent[4], spent[5]
    raw.times[0], raw.times[1], raw.times[2], raw.times[3] = spent[6], spent[7], spent[8], spent[9]
    raw.rest[0] = raw.rest[1] = 0
    return written(<const uint8_t *>&raw, sizeof(raw))


cdef inline CCard read_card(str text) except *:
    cdef CardBytes raw
    if not was_read(text, <uint8_t *>&raw, sizeof(raw)):
        from models import packing
        return packing.read_card(text)
    return (
        unpacked_use(raw.use),
        (
            raw.first, raw.n, raw.spent[0], raw.spent[1], raw.spent[2], raw.spent[3],
            raw.times[0], raw.times[1], raw.times[2], raw.times[3],
        ),
    )


cdef inline str bought_text(CUse use, CBuying bought):
    cdef BoughtBytes raw
    if not (fits(use) and short(bought[0]) and single(bought[1]) and single(bought[2])):
        from models import packing
        return packing.bought_text(use, bought)
    raw.use = packed_use(use)
    raw.n, raw.usual, raw.spent = bought[0], bought[1], bought[2]
    raw.rest = 0
    return written(<const uint8_t *>&raw, sizeof(raw))


cdef inline CBought read_bought(str text) except *:
    cdef BoughtBytes raw
    if not was_read(text, <uint8_t *>&raw, sizeof(raw)):
        from models import packing
        return packing.read_bought(text)
    return unpacked_use(raw.use), (raw.n, raw.usual, raw.spent)


cdef inline str labels_text(CLabels labels):
    # A label comes once in a sale's life: no need to be quick.
    from models import packing
    return packing.labels_text(labels)


cdef inline CLabels read_labels(str text) except *:
    cdef LabelsBytes raw
    if not was_read(text, <uint8_t *>&raw, sizeof(raw)):
        from models import packing
        return packing.read_labels(text)
    return (
        raw.last, raw.frauds, raw.genuine, raw.times[0], raw.times[1], raw.times[2], raw.run
    )


cdef inline str account_text(CAccount account):
    cdef AccountBytes raw
    if not (
        0 <= account[0] <= 0xFF
        and whole(account[1]) and whole(account[2]) and whole(account[3]) and whole(account[4])
        and whole(account[5]) and whole(account[6]) and whole(account[7]) and whole(account[8])
    ):
        from models import packing
        return packing.account_text(account)
    raw.form = account[0]
    raw.marks[0], raw.marks[1], raw.marks[2] = account[1], account[2], account[3]
    raw.marks[3], raw.marks[4], raw.marks[5] = account[4], account[5], account[6]
    raw.marks[6], raw.marks[7] = account[7], account[8]
    return written(<const uint8_t *>&raw, sizeof(raw))


cdef inline CAccount read_account(str text) except *:
    cdef AccountBytes raw
    if not was_read(text, <uint8_t *>&raw, sizeof(raw)):
        from models import packing
        return packing.read_account(text)
    return (
        raw.form, raw.marks[0], raw.marks[1], raw.marks[2], raw.marks[3], raw.marks[4],
        raw.marks[5], raw.marks[6], raw.marks[7],
    )


cdef inline str team_text(CTeam team):
    cdef TeamBytes raw
    if not (
        0 <= team[0] <= 0xFF and whole(team[1]) and single(team[2]) and single(team[3])
    ):
        from models import packing
        return packing.team_text(team)
    raw.form, raw.last, raw.sold, raw.returned = team[0], team[1], team[2], team[3]
    raw.rest[0] = raw.rest[1] = 0
    return written(<const uint8_t *>&raw, sizeof(raw))


cdef inline CTeam read_team(str text) except *:
    cdef TeamBytes raw
    if not was_read(text, <uint8_t *>&raw, sizeof(raw)):
        from models import packing
        return packing.read_team(text)
    return raw.form, raw.last, raw.sold, raw.returned
