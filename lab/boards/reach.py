"""Whether an error means that a board's equipment is out of reach, which says nothing about the board."""

from __future__ import annotations

import errno

NETWORK = {
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ETIMEDOUT,
}


def unreachable(error: BaseException) -> str:
    """Why a power switch or a serial line could not be reached, where ``error`` of labgrid's drivers says so.

    Empty for everything else: a board that does not answer (pexpect's TIMEOUT), a switch that refuses (an
    HTTP status). In the system's words alone: the drivers' hold the URL, and with it a rack's secret.
    """
    import requests
    import serial

    network = isinstance(error, (requests.ConnectionError, requests.Timeout, serial.SerialException))
    if not network and not (isinstance(error, OSError) and error.errno in NETWORK):
        return ""
    deepest = error
    while below := deepest.__cause__ or deepest.__context__:
        deepest = below
    return getattr(deepest, "strerror", None) or str(deepest) or type(deepest).__name__
