"""Files fetched from the web: over HTTP and HTTPS alone, also where a server redirects, and with an end to waiting."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import urllib.request

# Called with the bytes that have arrived, and with those of the whole file where they are known.
Progress = Callable[[int, "int | None"], None]

_SILENCE_S = 30.0
_BLOCK = 1 << 20
# How long a server may be slower than asked for in the beginning.
_PATIENCE_S = 60.0


class TransferError(Exception):
    """Nothing, or not all of it, has arrived: the message is the reason."""


class TooLargeError(TransferError):
    """There is more of it than allowed."""


def transfer(
    url: str,
    file: Path,
    *,
    resume: bool = False,
    max_bytes: int | None = None,
    least_bytes_per_s: int = 0,
    progress: Progress | None = None,
) -> None:
    """Fetch what is at ``url`` into ``file``; what has arrived stays there if it breaks off.

    Args:
        url: an http or https address.
        file: where it goes.
        resume: append what the file still lacks; a server that cannot do that sends all of it again.
        max_bytes: more than so many are an error.
        least_bytes_per_s: a server that is slower for long is an error.
        progress: told after each block.

    Raises:
        TransferError: no network, a refusal by the server, a full disk, or one of these limits.
    """
    # Most programs fetch nothing, and these take a third of what starting a decoder does.
    import http.client
    import urllib.error
    import urllib.request

    have = file.stat().st_size if resume and file.exists() else 0
    began = time.monotonic()
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        with _web_only().open(request, timeout=_SILENCE_S) as response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            if resumed and not (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
                file.unlink(missing_ok=True)
                raise TransferError("the server sent another part of the file than was asked for")
            have = have if resumed else 0
            length = response.headers.get("Content-Length") or ""
            total = have + int(length) if length.isdecimal() else None
            _check(total or 0, max_bytes)
            with file.open("ab" if resumed else "wb") as out:
                while block := response.read(_BLOCK):
                    have += len(block)
                    _check(have, max_bytes)
                    out.write(block)
                    if progress is not None:
                        progress(have, total)
                    if least_bytes_per_s and time.monotonic() - began > _PATIENCE_S + have / least_bytes_per_s:
                        raise TransferError("the download is too slow")
        if total is not None and have < total:
            raise TransferError(f"the connection ended after {have} of {total} bytes")
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the file is whole, or something else
        raise TransferError(error.reason or str(error)) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise TransferError(str(getattr(reason, "strerror", None) or reason) or type(reason).__name__) from None


def _check(count: int, max_bytes: int | None) -> None:
    if max_bytes is not None and count > max_bytes:
        raise TooLargeError(f"it is longer than {max_bytes} bytes")


@functools.cache
def _web_only() -> urllib.request.OpenerDirector:
    """An opener without the handlers of files, FTP and data that urllib adds by itself, also for redirections."""
    import urllib.request

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPRedirectHandler(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "vidcomp")]
    return opener
