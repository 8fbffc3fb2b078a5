"""The programs that serve the web."""

from __future__ import annotations

import os
import random
import socketserver
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from .clients import Address, at_once, begin_post, connect, end_post, free_port, get, in_directory
from .program import LOADS, Place, Program

Process = subprocess.Popen[bytes]


def _first_child(place: Place, pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return int(children.read().split()[0])


# nginx, apache, php

NGINX = """
daemon off;
{user}
error_log stderr crit;
pid nginx.pid;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_buffer_size 2m;
    client_max_body_size 8m;
    keepalive_timeout 600;
    server {{
        listen unix:{0}/nginx.sock;
        location / {{ proxy_pass http://unix:{0}/upstream.sock:/; proxy_http_version 1.0; }}
    }}
}}
"""


def _nginx(place: Place) -> Sequence[str]:
    user = "user root;" if os.geteuid() == 0 else ""
    config = place.write("nginx.conf", NGINX.format(place.directory, user=user))
    return ["nginx", "-p", str(place.directory), "-c", config]


class _Upstream(socketserver.StreamRequestHandler):
    """Read a request, and answer it in some KiB."""

    def handle(self) -> None:
        size = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        self.rfile.read(size)
        head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % (size // 10)
        self.wfile.write(head + b"a" * (size // 10))


def _nginx_load(place: Place, process: Process) -> Any:
    path = place.path("upstream.sock")
    upstream = socketserver.ThreadingUnixStreamServer(path, _Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    rng, kept = random.Random(15), []
    for _ in range(6):
        posts = []
        for number in range(96):
            one = connect(place.path("nginx.sock"))
            posts.append((one, b"b" * rng.randrange(200_000, 1_200_000)))
            begin_post(*posts[-1])
            if number % 16 == 0:
                kept.append(one)
        rng.shuffle(posts)
        for one, body in posts:
            end_post(one, body)
            if one not in kept:
                one.close()
    upstream.shutdown()
    upstream.server_close()
    return kept  # connections that are kept alive


APACHE = """
ServerRoot {0}
ServerName field
Listen 127.0.0.1:{port}
PidFile apache.pid
ErrorLog error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule autoindex_module {modules}/mod_autoindex.so
LoadModule alias_module {modules}/mod_alias.so
StartServers 1
ServerLimit 1
ThreadsPerChild 32
MaxRequestWorkers 32
DocumentRoot {0}/files
<Directory {0}/files>
Options Indexes
IndexOptions FancyIndexing
Require all granted
</Directory>
"""
MODULES = "/usr/lib/apache2/modules"


def _apache_new(place: Place) -> None:
    port = free_port()
    place.write("port", str(port))
    place.write("apache.conf", APACHE.format(place.directory, port=port, modules=MODULES))
    (place.directory / "files").mkdir()
    for number in range(15000):
        (place.directory / "files" / f"file-with-a-rather-long-name-{number}.html").touch()


def _apache(place: Place) -> Sequence[str]:
    return ["apache2", "-D", "FOREGROUND", "-f", place.path("apache.conf")]


def _port(place: Place) -> Address:
    return ("127.0.0.1", int((place.directory / "port").read_text()))


def _apache_load(place: Place, process: Process) -> None:
    at_once(24, lambda number: get(_port(place), "/"), range(72))


def _php(place: Place) -> Sequence[str]:
    page = str(LOADS / "page.php")
    port = free_port()
    place.write("port", str(port))
    return ["php", "-d", "memory_limit=512M", "-S", f"127.0.0.1:{port}", page]


def _php_load(place: Place, process: Process) -> None:
    for number in range(12):
        get(_port(place), f"/?n={number}")


SERVERS = (
    Program(
        "nginx",
        "a worker: 576 uploads of 0.2 to 1.2 MB, 96 at a time; 36 connections are kept alive",
        ("nginx",),
        _nginx,
        ("nginx", "-v"),
        serves=in_directory("nginx.sock"),
        load=_nginx_load,
        pick=_first_child,
    ),
    Program(
        "apache2",
        "a child of mpm_event: 72 listings of 15,000 files, 24 at a time",
        ("apache2-bin",),
        _apache,
        ("apache2", "-v"),
        prepare=_apache_new,
        serves=_port,
        load=_apache_load,
        pick=_first_child,
        deaf=True,
    ),
    Program(
        "php",
        "its web server: 12 requests that build arrays and a DOM",
        ("php-cli", "php-xml"),
        _php,
        ("php", "--version"),
        serves=_port,
        load=_php_load,
    ),
)
