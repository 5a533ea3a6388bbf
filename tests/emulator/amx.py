"""AMX tiles and AVX512_BF16 for emulator.py, whose processor does not have them: CPUID's description of them, and their
instructions as defined in Intel's Software Developer's Manual. Both reach this module as instructions that the emulated
processor does not know. Only used with emulator.py --amx."""

import ctypes
import struct

import numpy

from memory import PAGE, map_memory, write_words
from system_calls import REGISTERS

UNDEFINED = b"\x0f\x0b"  # ud2, which has the length of cpuid
FEATURES_LEAF = 7
# Of leaf 7: EDX of its first part has AMX-BF16 and AMX-TILE, EAX of its second one has AVX512_BF16.
FEATURES = {0: ("edx", 1 << 22 | 1 << 24), 1: ("eax", 1 << 5)}
MAX_ROWS, MAX_ROW_BYTES = 16, 64
TINY = numpy.finfo(numpy.float32).tiny  # the smallest number that is not denormal


class Tiles:
    """The eight tile registers. An error that a processor would report as an exception is a Python exception."""

    def __init__(self):
        self.configured = False
        self.rows, self.row_bytes = [0] * 8, [0] * 8
        self.data = numpy.zeros((8, MAX_ROWS, MAX_ROW_BYTES), numpy.uint8)
        # cpuid; or edx, [features]; or eax, [features + 8]; jmp [features + 16]
        self.cpuid_code = map_memory(PAGE)
        self.features = self.cpuid_code + 64
        code = b"\x0f\xa2" + b"\x0b\x15" + struct.pack("<i", 64 - 8) + b"\x0b\x05" + struct.pack("<i", 72 - 14)
        code += b"\xff\x25" + struct.pack("<i", 80 - 20)
        ctypes.memmove(self.cpuid_code, code, len(code))

    def answer_cpuid_in(self, base, addresses):
        for address in addresses:
            ctypes.memmove(base + address, UNDEFINED, 2)

    def execute(self, cpu):
        """Executes the instruction at cpu.rip; returns False if it is none of these."""
        code = ctypes.string_at(cpu.rip, 16)
        if code[:2] == UNDEFINED:
            added = {"edx": 0, "eax": 0}
            if cpu.rax & 0xFFFFFFFF == FEATURES_LEAF and cpu.rcx & 0xFFFFFFFF in FEATURES:
                register, bits = FEATURES[cpu.rcx & 0xFFFFFFFF]
                added[register] = bits
            write_words(self.features, added["edx"], added["eax"], cpu.rip + 2)
            cpu.rip = self.cpuid_code
            return True
        if round_to_bfloat16(code, cpu):
            return True
        instruction = Instruction(code, cpu)
        if not instruction.is_vex:
            return False
        action = {
            (0x49, 0, True): self._load_configuration,
            (0x49, 0, False): self._release,
            (0x49, 3, False): self._zero,
            (0x4B, 3, True): self._load,
            (0x4B, 2, True): self._store,
            (0x5C, 2, False): self._multiply,
        }.get((instruction.opcode, instruction.prefix, instruction.in_memory))
        if not action:
            return False
        action(instruction)
        cpu.rip += instruction.size
        return True

    def _load_configuration(self, instruction):
        configuration = ctypes.string_at(instruction.address, 64)
        palette, start_row = configuration[:2]
        assert (palette, start_row) == (1, 0) and not any(configuration[2:16]), "LDTILECFG: palette 1, from row 0"
        assert not any(configuration[32:48]) and not any(configuration[56:]), "LDTILECFG: there are eight tiles"
        self.row_bytes = list(struct.unpack_from("<8H", configuration, 16))
        self.rows = list(configuration[48:56])
        assert max(self.rows) <= MAX_ROWS and max(self.row_bytes) <= MAX_ROW_BYTES, "LDTILECFG: larger than a tile"
        self.data[:] = 0
        self.configured = True

    def _release(self, _):
        self.configured = False
        self.data[:] = 0

    def _used(self, tile):
        assert self.configured and self.rows[tile] and self.row_bytes[tile], f"tile {tile} is not configured"
        return self.rows[tile], self.row_bytes[tile]

    def _zero(self, instruction):
        self._used(instruction.register)
        self.data[instruction.register] = 0

    def _load(self, instruction):
        rows, row_bytes = self._used(instruction.register)
        self.data[instruction.register] = 0
        for row in range(rows):
            line = ctypes.string_at(instruction.address + row * instruction.stride, row_bytes)
            self.data[instruction.register, row, :row_bytes] = numpy.frombuffer(line, numpy.uint8)

    def _store(self, instruction):
        rows, row_bytes = self._used(instruction.register)
        for row in range(rows):
            line = self.data[instruction.register, row, :row_bytes].tobytes()
            ctypes.memmove(instruction.address + row * instruction.stride, line, row_bytes)

    def _multiply(self, instruction):
        """TDPBF16PS: sums even and odd depths separately, in order, with one rounding each; adds the two sums; adds the
        tile."""
        to, left, right = instruction.register, instruction.register_or_memory, instruction.third
        assert len({to, left, right}) == 3, "TDPBF16PS: three different tiles"
        (rows, to_bytes), (left_rows, left_bytes), (right_rows, right_bytes) = map(self._used, (to, left, right))
        assert rows == left_rows and to_bytes == right_bytes and left_bytes == 4 * right_rows, "TDPBF16PS: sizes"
        factors = [flushed((self.data[tile].view(numpy.uint16).astype(numpy.uint32) << 16).view(numpy.float32))
                   for tile in (left, right)]
        left_pairs, right_pairs = (factor.astype(numpy.float64).reshape(MAX_ROWS, 16, 2) for factor in factors)
        # [pair, half, row, column]; exact in double precision, so that the sums are rounded once.
        products = numpy.einsum("rph,pch->phrc", left_pairs, right_pairs)
        sums = numpy.zeros((2, MAX_ROWS, 16), numpy.float32)
        for pair in range(right_rows):
            sums = flushed((products[pair] + sums).astype(numpy.float32))
        total = self.data[to].view(numpy.float32)
        total[:] = flushed(flushed(total) + flushed(sums[0] + sums[1]))


def flushed(numbers):
    """Replaces denormals with zero of the same sign."""
    return numpy.where(numpy.abs(numbers) < TINY, numbers * numpy.float32(0), numbers)


def round_to_bfloat16(code, cpu):
    """VCVTNE2PS2BF16 of whole registers, without a mask; returns False if the code is something else."""
    # The fields that are the same for all registers, as (mask, value) of each byte.
    fields = [(0xFF, 0x62), (0x0F, 2), (0x87, 7), (0xF7, 0x40), (0xFF, 0x72), (0xC0, 0xC0)]
    if any(byte & mask != value for byte, (mask, value) in zip(code, fields)):
        return False
    extend = [~byte for byte in code[1:4]]
    to = code[5] >> 3 & 7 | (extend[0] >> 7 & 1) << 3 | (extend[0] >> 4 & 1) << 4
    low = code[5] & 7 | (extend[0] >> 5 & 1) << 3 | (extend[0] >> 6 & 1) << 4
    high = extend[1] >> 3 & 0xF | (extend[2] >> 3 & 1) << 4
    state = cpu.state
    registers = state.zmm
    bits = numpy.array(registers[low].q + registers[high].q, numpy.uint64).view(numpy.uint32)
    numbers = bits.view(numpy.float32)
    halves = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    halves = numpy.where(numpy.abs(numbers) < TINY, bits >> 16 & 0x8000, halves)
    halves = numpy.where(numpy.isnan(numbers), bits >> 16 | 0x40, halves)
    registers[to].q = [int(word) for word in halves.astype(numpy.uint16).view(numpy.uint64)]
    state.zmm = registers
    state.rip += len(fields)
    cpu.set_state_no_flush(state)
    return True


class Instruction:
    """An instruction with a three-byte VEX prefix, 128 bits, from the map 0F38: its fields and memory operand."""

    def __init__(self, code, cpu):
        self.is_vex = code[0] == 0xC4 and code[1] & 0x1F == 2 and code[2] & 0x84 == 0
        if not self.is_vex:
            return
        extend_register, extend_index, extend_base = (code[1] >> bit & 1 ^ 1 for bit in (7, 6, 5))
        self.prefix = code[2] & 3  # none, 66, F3, F2
        self.third = code[2] >> 3 & 0xF ^ 0xF
        self.opcode = code[3]
        mode, self.register_or_memory = code[4] >> 6, code[4] & 7
        self.register = code[4] >> 3 & 7 | extend_register << 3
        self.in_memory = mode != 3
        self.size = 5
        if not self.in_memory:
            self.register_or_memory |= extend_base << 3
            return

        def value(number):
            return getattr(cpu, REGISTERS[number])

        self.address = self.stride = 0
        if self.register_or_memory == 4:
            scale, index, base = code[5] >> 6, code[5] >> 3 & 7 | extend_index << 3, code[5] & 7
            self.size = 6
            if index != 4:
                self.stride = value(index) << scale
            assert not (base == 5 and mode == 0), "an address without a base"
            self.address = value(base | extend_base << 3)
        else:
            assert not (self.register_or_memory == 5 and mode == 0), "an address relative to this instruction's"
            self.address = value(self.register_or_memory | extend_base << 3)
        if mode:
            form = "<b" if mode == 1 else "<i"
            self.address += struct.unpack_from(form, code, self.size)[0]
            self.size += struct.calcsize(form)
