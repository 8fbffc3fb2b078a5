"""Source this file in gdb to get the command heapx: (gdb) source gdb_heapx.py

It finds the package gdb_heapx beside itself, and the libraries tabulate, pygments and jinja2 in
gdb's own Python, else where heapx was installed, else in the project's .venv or vendor directory.
It is written for old Pythons, too, so that an old gdb gets one message.
"""

import glob
import os
import sys

import gdb


def _site_packages(here):
    """Return the directories that may hold heapx's libraries, the nearest first."""
    patterns = [
        os.path.join(here, "vendor"),
        os.path.join(here, ".venv", "lib", "python3.*", "site-packages"),
    ]
    prefix, shared = os.path.split(os.path.dirname(here))
    if shared == "share":  # as pip installs it; what lies above a checkout may be anybody's
        # Where there is a lib64, what has compiled code is there.
        patterns.append(os.path.join(prefix, "lib64", "python3.*", "site-packages"))
        patterns.append(os.path.join(prefix, "lib", "python3.*", "site-packages"))
        patterns.append(os.path.join(prefix, "local", "lib", "python3.*", "dist-packages"))
    return [path for pattern in patterns for path in sorted(glob.glob(pattern))]


def _missing(names):
    import importlib.util

    return [name for name in names if importlib.util.find_spec(name) is None]


def _load(here):
    """Import the package from its own directory, whatever else sys.path holds."""
    import importlib.util

    for name in [n for n in sys.modules if n == "gdb_heapx" or n.startswith("gdb_heapx.")]:
        del sys.modules[name]
    sites = _site_packages(here)
    roots = [root for root in [here] + sites if os.path.isdir(os.path.join(root, "gdb_heapx"))]
    if not roots:
        raise gdb.GdbError("heapx: there is no directory gdb_heapx in " + here)
    for site in sites:
        if _missing(("tabulate", "pygments", "jinja2")) and site not in sys.path:
            sys.path.append(site)  # at the end: gdb's own modules come first
    package = os.path.join(roots[0], "gdb_heapx")
    spec = importlib.util.spec_from_file_location(
        "gdb_heapx", os.path.join(package, "__init__.py"), submodule_search_locations=[package]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gdb_heapx"] = module
    spec.loader.exec_module(module)
    if gdb.convenience_variable("_heapx_shell") is None:  # else gdbside/batch.py answers
        from gdb_heapx.gdbside import register

        register.register()


if sys.version_info < (3, 9) or int(gdb.VERSION.split(".")[0]) < 10:
    raise gdb.GdbError(
        "heapx needs gdb 10 with Python 3.9 or newer; this is gdb %s with Python %d.%d."
        % (gdb.VERSION, sys.version_info[0], sys.version_info[1])
    )
# Where a Python script sources this file, __file__ is the script's.
_load(os.path.dirname(os.path.abspath(_load.__code__.co_filename)))
