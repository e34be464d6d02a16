"""L1's surroundings: 64-bit mode, memory mapped to itself, every exception caught.

All is prepared in memory before L1 starts, so that L1 is nothing but what is to be proved. L2
shares it: it is entered in the same mode, on the same page tables.
"""

import struct

#: L1's physical memory in bytes, by 4 KiB pages:
SIZE = 0xC000
L1_CODE = 0x1000
L2_CODE = 0x2000
TABLES = 0x3000
HANDLERS = 0x4000
STACK = 0x6000  # its upper end: the page below
PAGE_TABLES = 0x6000  # three pages
FREE = 0x9000  # three pages for what a vendor's virtualization wants

GDT = TABLES
GDT_LIMIT = 0x27
IDT = TABLES + 0x100
IDT_LIMIT = 32 * 16 - 1
TSS = TABLES + 0x400
TSS_LIMIT = 0x67

#: Selectors into the GDT.
CODE = 0x08
DATA = 0x10
TASK = 0x18

# [SDM 3, 2.5 "Control registers"; APM 3.1]
CR0 = 0x80000031  # PG, NE, ET, PE
CR3 = PAGE_TABLES
CR4 = 0x220  # OSFXSR, PAE
EFER = 0x500  # LMA, LME [APM 3.1.7]
RFLAGS = 0x2  # bit 1 is always 1; interrupts are off
DR7 = 0x400  # bit 10 is always 1 [SDM 3, 17.2.4]

#: What L2 leaves in EDI: nothing but its own instruction puts it there.
GREETING = 0x4C32

EXCEPTIONS = {
    0: '#DE',
    1: '#DB',
    3: '#BP',
    4: '#OF',
    5: '#BR',
    6: '#UD',
    7: '#NM',
    8: '#DF',
    10: '#TS',
    11: '#NP',
    12: '#SS',
    13: '#GP',
    14: '#PF',
    16: '#MF',
    17: '#AC',
    18: '#MC',
    19: '#XM',
}
# They push an error code below the return address [SDM 3, table 6-1].
_WITH_ERROR_CODE = frozenset({8, 10, 11, 12, 13, 14, 17, 21, 29, 30})

HLT = b'\xf4'

_Q = struct.Struct('<Q')


def memory() -> bytearray:
    """Return L1's memory, without L1: tables, handlers, page tables."""
    image = bytearray(SIZE)
    put(image, GDT, _gdt())
    put(image, IDT, b''.join(_gate(HANDLERS + vector) for vector in range(32)))
    # Every exception leads to a HLT of its own: where the processor halts tells the vector.
    put(image, HANDLERS, HLT * 32)
    # PML4E and PDPTE: present, writable, user; PDE: 2 MiB page besides [SDM 3, 4.5 "4-level
    # paging"]. User: they serve as nested page tables too [APM 15.25.5].
    put(image, PAGE_TABLES, _Q.pack((PAGE_TABLES + 0x1000) | 0x7))
    put(image, PAGE_TABLES + 0x1000, _Q.pack((PAGE_TABLES + 0x2000) | 0x7))
    put(image, PAGE_TABLES + 0x2000, _Q.pack(0x87))
    return image


def put(image: bytearray, address: int, data: bytes) -> None:
    """Write to L1's memory."""
    image[address : address + len(data)] = data


def exception(rip: int) -> int | None:
    """Return the vector of the exception after which the processor halted; None: none.

    :param rip: where it halted: behind the HLT
    """
    vector = rip - len(HLT) - HANDLERS
    return vector if 0 <= vector < 32 else None


def interrupted(memory: bytes, vector: int, rsp: int) -> int:
    """Return the address of the instruction that took an exception.

    :param rsp: in its handler; the return address is on top, below it the error code if there
        is one [SDM 3, 6.14.2 "64-bit mode stack frame"]
    """
    address = rsp + (8 if vector in _WITH_ERROR_CODE else 0)
    return int(_Q.unpack_from(memory, address)[0])


def _gdt() -> bytes:
    # Null; code: present, 64-bit; data: present, writable [SDM 3, 3.4.5 "Segment descriptors"];
    # TSS: present, busy, 16 bytes in 64-bit mode [SDM 3, 7.2.3].
    task = TSS_LIMIT | TSS << 16 | 0x8B << 40
    return struct.pack('<5Q', 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, task, 0)


def _gate(handler: int) -> bytes:
    """Return a 64-bit interrupt gate: present, type 14 [SDM 3, 6.14.1 "64-bit mode IDT"]."""
    return struct.pack('<HHBBHII', handler & 0xFFFF, CODE, 0, 0x8E, handler >> 16, 0, 0)
