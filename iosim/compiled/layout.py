"""How values and objects lie in the memory of the compiled engine: words, headers, fields, global words, traps.

Every value is one 64-bit word. None is 0; the int v (a bool is 0 or 1) is (v << 1) | 1; everything else is the address
of an object, a multiple of 8. The first word of an object is its header: class id in bits 0 to 23, MARK, PERMANENT, and
the size in words (header included) in bits 32 to 63. Each payload word of a *scanned* object is such a value; the
payload of an *opaque* one is raw data. Offsets are in bytes from the object's address.
"""

WORD_FALSE = 1
WORD_TRUE = 3
WORD_ZERO = 1
HOLE = 2
"""Stands as key in a deleted entry of a dictionary or set; neither an int nor an address."""

CLASS_MASK = 0xFFFFFF
MARK = 1 << 24
PERMANENT = 1 << 25
SIZE_SHIFT = 32
PAYLOAD = 8

INT_CLASS = -1
"""What rt_class_of says of an int, which has no header; None has NONE_CLASS."""
NONE_CLASS = 0
FREE = 1
STR = 2
FLOAT = 3
BIGINT = 4
TUPLE = 5
LIST = 6
BUFFER = 7
DICT = 8
SET = 9
DEQUE = 10
RAW = 11
INTARRAY = 12
FIRST_COMPILER_CLASS = 13
FIRST_USER_CLASS = 64

FLAG_SCANNED = 1
FLAG_CONTENT = 2
"""Compared, hashed and indexed by content: tuples and named tuples, whose payload words are the items."""
FLAG_IDENTITY = 4
"""Equal to itself only: objects that are not of a built-in class."""

CLASS_FLAGS = {
    FREE: 0,
    STR: 0,
    FLOAT: 0,
    BIGINT: 0,
    TUPLE: FLAG_SCANNED | FLAG_CONTENT,
    LIST: FLAG_SCANNED,
    BUFFER: FLAG_SCANNED,
    DICT: FLAG_SCANNED,
    SET: FLAG_SCANNED,
    DEQUE: FLAG_SCANNED,
    RAW: 0,
    INTARRAY: 0,
}
"""Flags of the built-in classes, for the table at G_CLASS_FLAGS."""

FREE_NEXT = 8
"""The next free block of the same size class, 0 at the end."""

STR_LENGTH = 8
"""Raw number of bytes."""
STR_HASH = 16
"""Raw hash, 0 if not computed yet."""
STR_BYTES = 24
"""UTF-8, padded with zero bytes to whole words."""
STR_HEAD_WORDS = 3

FLOAT_BITS = 8
BIGINT_VALUE = 8

LIST_LENGTH = 8
LIST_BUFFER = 16
LIST_WORDS = 3

DICT_LENGTH = 8
"""Live entries."""
DICT_FILLED = 16
"""Entry slots used, deleted ones included."""
DICT_INDEX = 24
"""RAW table of 2**k slots, 0 if the entries are searched in order. A slot is 0 or
(upper 32 bits of the hash) | (entry number + 1); it begins at hash & (2**k - 1) and goes on linearly."""
DICT_ENTRIES = 32
DICT_WORDS = 5

ENTRY_HASH = 0
"""(hash << 1) | 1, None in a deleted entry."""
ENTRY_KEY = 8
ENTRY_VALUE = 16
ENTRY_BYTES = 24
ENTRY_WORDS = 3

DEQUE_LENGTH = 8
DEQUE_HEAD = 16
DEQUE_BUFFER = 24
DEQUE_WORDS = 4

G_BASE = 0
"""Start of the arena, where the permanent objects lie."""
G_LIMIT = 1
"""End of the arena."""
G_PERMANENT_END = 2
G_MARK_BASE = 3
G_MARK_LIMIT = 4
G_ROOT = 5
"""A value that is kept, with all that it reaches."""
G_CLASS_FLAGS = 6
"""Address of the table of flags: one word for each class id."""
G_BUMP = 7
"""Next address of the run that new objects are taken from."""
G_BUMP_LIMIT = 8
G_WILDERNESS = 9
"""Start of the memory that has never been used, or is free up to the end of the arena."""
G_ALLOCATED = 10
"""Bytes taken since the last collection, the rest of the current run included."""
G_LIVE = 11
"""Bytes of the objects that the last collection kept, without the permanent ones."""
G_THRESHOLD = 12
"""Bytes taken after which rt_maybe_gc collects."""
G_MARK_TOP = 13
G_MARK_OVERFLOW = 14
G_COLLECTIONS = 15
"""Number of collections so far."""
G_PLACE = 16
"""Address at which code with checks notes the statement that it executes: a function's number << 20 | its line."""
G_FIRST_OF_COMPILER = 17
"""Words from here up to G_GC_MINIMUM, and those behind the free lists, are the compiler's."""
G_GC_MINIMUM = 63
"""Smallest threshold, set before rt_memory_init; 0 stands for GC_MINIMUM_BYTES, -1 for a collection at every event."""
G_FREE_LISTS = 64
"""Heads of the lists of free blocks, by size class."""
G_FRAME_LISTS = 160
"""Heads of the lists of frames that are used again, by size; behind the free lists."""
N_FRAME_LISTS = 64
N_GLOBALS = 256

FIRST_LARGE_CLASS = 64
"""Blocks of fewer words have a size class for each size; larger ones for each power of two."""
N_SIZE_CLASSES = 96
CHUNK_WORDS = 8192
"""Words by which the used part of the arena grows for small objects."""
GC_MINIMUM_BYTES = 16 << 20
"""New objects go round in so much memory: little enough for the processor's caches, and enough to make it seldom that
what a machine is made of has to be marked."""

TRAP_MEMORY = 1
TRAP_TYPE = 2
TRAP_INDEX = 3
TRAP_KEY = 4
TRAP_VALUE = 5
TRAP_OVERFLOW = 6
TRAP_ZERO_DIVISION = 7

TRAP_MESSAGES = {
    TRAP_MEMORY: "the arena is exhausted",
    TRAP_TYPE: "an operation is not defined for values of this class",
    TRAP_INDEX: "an index is out of range, or the sequence is empty",
    TRAP_KEY: "a key is not in the dictionary or set",
    TRAP_VALUE: "a value is not in the list, or not allowed here",
    TRAP_OVERFLOW: "an integer does not fit 63 bits",
    TRAP_ZERO_DIVISION: "division by zero",
}
