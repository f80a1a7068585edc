"""The HTTP API: what a till or a shop asks, answered once its booking can no longer be lost.

``process`` puts a process together, ``site`` takes requests in, ``endpoints`` says what there is,
``booking`` books, ``keys`` knows who may, ``problems`` says why not, ``document`` is OpenAPI.
"""
