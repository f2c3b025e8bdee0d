"""Fetching one file over HTTP: resumed after every fault, checked before it takes its name.

`requests` carries the bytes: it is well kept, comes with DVC, follows redirects and obeys the usual proxy
variables.  What it lacks, resuming by ranges and judging what a server says, stands here.
"""

import email.utils
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from cmbml.core.errors import DataError
from cmbml.core.handlers.base import explain_storage
from cmbml.exchange.part import CHUNK, Part

_TIMEOUT = (20.0, 60.0)  # seconds to connect, and between two chunks
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d+)")
_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
# Answers after which the same question may be asked again.
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
# Errors that no other attempt at the same address will mend.
_HOPELESS = (
    requests.exceptions.SSLError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.TooManyRedirects,
)


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes
    ----------
    path
        Its final name.
    addresses
        Where it may be had, the best first.
    size, md5
        What is known of it; None where nothing is.
    """

    path: Path
    addresses: tuple[str, ...]
    size: int | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Patience:
    """How long to go on.

    Attributes
    ----------
    failures
        Attempts in a row that may fail, an attempt that brought a megabyte not counted.
    first, most
        Seconds to wait after the first failure, doubled each time, and at most.
    """

    failures: int = 10
    first: float = 0.5
    most: float = 60.0

    def pause(self, failed: int, asked: float | None) -> float:
        """Seconds to wait after so many failures in a row; `asked` is the server's own wish."""
        spread = random.SystemRandom().uniform(0.5, 1.0)
        return min(self.most, max(self.first * 2 ** (failed - 1) * spread, asked or 0.0))


class _FaultError(Exception):
    """An attempt that failed; it may be made again, after `wait` seconds where the server said so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _RefusedError(Exception):
    """An address that will never give the file."""


class Transfer:
    """Fetches one file, from one address after the other, until it is whole and right.

    Parameters
    ----------
    wanted
        The file.
    session
        Connections, kept from one file to the next.
    patience
        How long to go on.
    on_bytes
        Called with the number of bytes that came; negative where they were thrown away.
    """

    def __init__(
        self,
        wanted: Wanted,
        session: requests.Session,
        patience: Patience,
        on_bytes: Callable[[int], None],
    ) -> None:
        self.wanted = wanted
        self.session = session
        self.patience = patience
        self.on_bytes = on_bytes
        self.total = wanted.size
        # Where nothing is known of a file, its length counts only when the server has said it twice.
        self._known = wanted.size is not None or wanted.md5 is not None
        self.confirmed = self._known

    def run(self, before_naming: Callable[[str, int], None]) -> None:
        """Fetch; `before_naming` is called with hash and length when the file is whole and right.

        Raises
        ------
        DataError
            Where no address gives the file, or none gives the right one.
        StorageError
            Where the disk refuses.
        """
        try:
            with Part(self.wanted.path) as part:
                self.on_bytes(part.size)
                self._fill(part)
                before_naming(part.md5, part.size)
                part.finish(self.wanted.path)
        except OSError as error:
            raise explain_storage(self.wanted.path, error) from error

    def _fill(self, part: Part) -> None:
        """Ask until the part is whole and right."""
        addresses, reasons, failed = list(self.wanted.addresses), [], 0
        self.total = part.total if self.wanted.size is None else self.wanted.size
        while addresses and failed <= self.patience.failures:
            address, before = addresses[0], part.size
            try:
                if self._attempt(address, part):
                    return
                failed = 0
            except _RefusedError as refused:
                reasons.append(f"{address}: {refused}")
                addresses.pop(0)
            except _FaultError as fault:
                failed = 1 if part.size - before >= CHUNK else failed + 1
                reasons = [f"{address}: {fault}"]
                time.sleep(self.patience.pause(failed, fault.wait))
                if self._may_change(failed):
                    addresses.append(addresses.pop(0))
        tried = "; ".join(reasons)
        raise DataError(f"{self.wanted.path}: not fetched: {tried}: run again later, it will be resumed")

    def _may_change(self, failed: int) -> bool:
        """Whether to try another address: a part of unknown content must be begun anew there."""
        return self.wanted.md5 is not None or failed % 3 == 0

    def _attempt(self, address: str, part: Part) -> bool:
        """Ask once for what is missing; say whether the file is whole and right."""
        if self._sealed(part):
            return True
        before = part.size
        try:
            with self.session.get(
                address, headers=self._question(address, part), stream=True, timeout=_TIMEOUT
            ) as answer:
                self._take(answer, address, part)
        except _HOPELESS as error:
            raise _RefusedError(_words(error)) from None
        except (requests.RequestException, HTTPError) as error:
            raise _FaultError(_words(error)) from None
        sealed = self._sealed(part)
        if not sealed and part.size == before:
            raise _FaultError("the answer is empty")
        return sealed

    def _question(self, address: str, part: Part) -> dict[str, str]:
        """Headers of the request: what is missing, if the version is still the one at hand."""
        headers = {"Accept-Encoding": "identity"}
        version = part.version(address)
        if part.size and (version or self.wanted.md5 or self.total == part.size):
            headers["Range"] = f"bytes={part.size}-"
            if version and not version.startswith("W/"):
                headers["If-Range"] = version
        return headers

    def _take(self, answer: requests.Response, address: str, part: Part) -> None:
        status = answer.status_code
        if status == _UNSATISFIABLE:
            self._past_the_end(answer, part)
        elif status in (_OK, _PARTIAL):
            self._expect_data(answer)
            if self._position(answer, address, part):
                self._read_body(answer, part)
        elif status in _AGAIN:
            raise _FaultError(f"HTTP {status}", _retry_after(answer))
        else:
            raise _RefusedError(f"HTTP {status}")

    def _past_the_end(self, answer: requests.Response, part: Part) -> None:
        """Nothing lies behind what has come: it is whole, or too long."""
        if not part.size:
            raise _FaultError("HTTP 416 where no range was asked for")
        found = _UNSATISFIED.fullmatch(answer.headers.get("Content-Range", ""))
        if found and int(found[1]) == part.size and self.total in (None, part.size):
            self.total, self.confirmed = part.size, True
            return
        if not found and self.total == part.size:
            self.confirmed = True
            return
        raise self._discard(part, "HTTP 416")

    def _expect_data(self, answer: requests.Response) -> None:
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise _RefusedError("answers with a web page")
        packed = answer.headers.get("Content-Encoding", "identity").lower()
        # Some servers call a file that is an archive anyway an encoded one.
        if packed != "identity" and not self.wanted.path.name.endswith((".gz", ".tgz")):
            raise _RefusedError(f"answers in the encoding {packed}")

    def _position(self, answer: requests.Response, address: str, part: Part) -> bool:
        """Bring the part to where the answer begins; False where nothing need be read."""
        if answer.status_code == _PARTIAL:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != part.size:
                raise self._discard(part, "answers with another range than asked")
            self._learn_total(None if found[3] == "*" else int(found[3]), part)
            return True
        total = self._whole_length(answer)
        if part.size and total == part.size == self.total and part.version(address) == _version(answer):
            # No ranges here, but the same length of the same version, said a second time.
            self.confirmed = True
            return False
        self.on_bytes(-part.size)
        part.restart(address, _version(answer), total)
        self.total, self.confirmed = self.wanted.size, self._known
        self._learn_total(total, part)
        return True

    def _whole_length(self, answer: requests.Response) -> int | None:
        """Length that the answer says the file has; None where it comes in chunks, which have an end."""
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal():
            return int(length)
        if not self._known and answer.headers.get("Transfer-Encoding", "").lower() != "chunked":
            raise _RefusedError("names no length, and none is known")
        return None

    def _learn_total(self, total: int | None, part: Part) -> None:
        if total is None:
            return
        if self.total is not None and total != self.total:
            said, self.total = self.total, self.wanted.size
            raise self._discard(part, f"says that the file has {total} bytes, not {said}")
        self.total = total

    def _read_body(self, answer: requests.Response, part: Part) -> None:
        if self.total is not None:
            part.reserve(self.total)
        while chunk := answer.raw.read(CHUNK, decode_content=False):
            if self.total is not None and part.size + len(chunk) > self.total:
                raise self._discard(part, f"sends more than {self.total} bytes")
            part.append(chunk)
            self.on_bytes(len(chunk))
        if self.total is None:
            self.total, self.confirmed = part.size, True

    def _sealed(self, part: Part) -> bool:
        """Whether the part is whole and right; what is whole and wrong is thrown away."""
        if self.total is None:
            return False
        if part.size > self.total:
            raise self._discard(part, f"{part.size} bytes, where {self.total} were expected")
        if part.size < self.total or not self.confirmed:
            return False
        if self.wanted.md5 and part.md5 != self.wanted.md5:
            raise self._discard(part, f"its content has md5 {part.md5}, expected {self.wanted.md5}")
        return True

    def _discard(self, part: Part, reason: str) -> _FaultError:
        """Throw away what has come; the error to raise."""
        self.on_bytes(-part.size)
        part.restart()
        self.total, self.confirmed = self.wanted.size, self._known
        return _FaultError(reason)


def _version(answer: requests.Response) -> str | None:
    """What the server calls this version of the file."""
    found: Any = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    return found


def _retry_after(answer: requests.Response) -> float | None:
    """Seconds that the server asks to wait: a number, or a date."""
    wish = answer.headers.get("Retry-After", "")
    if wish.isdecimal():
        return float(wish)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(wish).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
