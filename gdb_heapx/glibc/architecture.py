"""The architectures that glibc tells apart, by what an ELF file says of itself."""

from __future__ import annotations

from enum import Enum


class Architecture(Enum):
    """One architecture, with a name for it; OTHER where nothing depends on which."""

    X86_64 = "x86-64"
    X32 = "x32"
    I386 = "i386"
    ARM = "arm"
    AARCH64 = "aarch64"
    POWERPC = "powerpc"
    RISCV = "riscv"
    S390 = "s390"
    SPARC = "sparc"
    OTHER = "other"

    @classmethod
    def of(cls, machine: int, word: int) -> Architecture:
        """Return it by e_machine and the class of the file, 32 or 64 bits."""
        if (machine, word) == (EM_X86_64, 4):
            return cls.X32
        return _MACHINES.get(machine, cls.OTHER)


EM_X86_64 = 62
_MACHINES = {  # elf.h
    3: Architecture.I386,
    EM_X86_64: Architecture.X86_64,
    40: Architecture.ARM,
    183: Architecture.AARCH64,
    **dict.fromkeys((20, 21), Architecture.POWERPC),
    243: Architecture.RISCV,
    22: Architecture.S390,
    **dict.fromkeys((2, 18, 43), Architecture.SPARC),
}
