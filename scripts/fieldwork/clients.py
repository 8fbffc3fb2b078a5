"""Talk to servers: few lines of HTTP and of the caches' protocols."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Union

from .program import Place

Address = Union[str, tuple[str, int]]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def in_directory(name: str) -> Callable[[Place], Address]:
    """Return what gives the address of a socket in the program's directory."""
    return lambda place: place.path(name)


def connect(address: Address) -> socket.socket:
    kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    one = socket.socket(kind)
    one.settimeout(30)
    one.connect(address)
    return one


def listening(address: Address) -> bool:
    """Tell whether a server answers here."""
    with contextlib.suppress(OSError), connect(address):
        return True
    return False


def get(address: Address, path: str) -> int:
    """Return how many bytes a server sends for a path."""
    with connect(address) as one:
        one.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return sum(map(len, iter(lambda: one.recv(1 << 16), b"")))


def begin_post(one: socket.socket, body: bytes) -> None:
    """Send a request with half of its body, to a connection that lives on."""
    head = f"POST / HTTP/1.1\r\nHost: field\r\nContent-Length: {len(body)}\r\n\r\n"
    one.sendall(head.encode() + body[: len(body) // 2])


def end_post(one: socket.socket, body: bytes) -> None:
    """Send the other half, and read what is answered."""
    one.sendall(body[len(body) // 2 :])
    with one.makefile("rb") as answer:
        left = 0
        while (line := answer.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                left = int(line.split(b":")[1])
        answer.read(left)


def stream(address: Address, lines: Iterable[bytes], last: bytes, end: bytes) -> None:
    """Send lines, some hundred at a time, each time with a last one that is answered by `end`."""
    lines = iter(lines)
    with connect(address) as one:
        while batch := b"".join(islice(lines, 500)):
            one.sendall(batch + last)
            tail = b""
            while not tail.endswith(end):
                got = one.recv(1 << 16)
                if not got:
                    raise RuntimeError("the server hung up")
                tail = tail[-200:] + got


def at_once(number: int, work: Callable[[int], Any], items: Iterable[int]) -> list[Any]:
    """Do this for each item, so many at a time."""
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(work, items))
