"""Runs a Linux program on an emulated processor with AVX-512, so that its code can be tested on any x86-64 machine. Use
it for kernels that most processors cannot run: it executes real instructions, unlike tests/support/wide_kernels.cc and
tiles_backend.h, which compute the same numbers with other instructions.

  emulator.py [--amx] PROGRAM [ARGUMENT...]

The processor is emulated by Bochs (the package bochscpu-python; a Tiger Lake with AVX-512 F, BW, CD, DQ and VL) at
about 25 million instructions per second; --amx adds AMX tiles and AVX512_BF16 (amx.py). The program uses the memory of this process at
the same addresses. System calls are passed on to the kernel, except those that would change this process: threads take
turns at their system calls, and signal handlers are never called. The exit status is the program's, or 128 + the number
of the exception that ended it.

Runs under the Python of $DISTMNIST_TEST_PYTHON if that is set. If Bochs is not installed, it says so and ends with 77,
which meson counts as skipped.
"""

import argparse
import ctypes
import importlib.util
import os
import pathlib
import re
import struct
import subprocess
import sys
import traceback

from memory import PAGE, libc, map_memory, write_words
from process import Image, make_stack
from system_calls import SystemCalls

SKIPPED = 77
FAILED = 70

# All memory is in one stretch of 512 GiB, and the number of a "physical" page is its number within that stretch. The
# first allocation shows where the stretch is; without address randomization it is the last one below 128 TiB.
PHYSICAL_MASK = (1 << 39) - 1
USER_CODE, USER_DATA, KERNEL_CODE, KERNEL_DATA = 0x33, 0x2B, 0x10, 0x18  # selectors, the same as Linux uses
INVALID_OPCODE = 6
# Bochs' numbers for the kinds of "far branch" that a hook receives.
RETURN_FROM_INTERRUPT, SYSTEM_CALL = 15, 17


def start_again():
    """Starts this process again, under the Python that has Bochs and without the kernel's address randomization. If
    randomization cannot be disabled, all memory is still most likely in one stretch."""
    ADDR_NO_RANDOMIZE, QUERY = 0x0040000, 0xFFFFFFFF
    python = os.environ.get("DISTMNIST_TEST_PYTHON", sys.executable)
    persona = libc.personality(QUERY)
    libc.personality(persona | ADDR_NO_RANDOMIZE)
    if os.environ.pop("DISTMNIST_EMULATOR_RUNS", None) != "1":
        os.execvpe(python, [python, *sys.argv], {**os.environ, "DISTMNIST_EMULATOR_RUNS": "1"})


class Kernel:
    """The parts of a kernel that the processor needs: page tables, descriptors, and code to enter it."""

    def __init__(self, entry):
        PRESENT_WRITABLE_USER, HUGE = 7, 0x80
        pages = map_memory(6 * PAGE)
        self.page_map, pointers, self.code, stack, self.descriptors, self.interrupts = (
            pages + i * PAGE for i in range(6))
        self.task = self.descriptors + 256
        # Every stretch of 512 GiB maps to the same memory, in pages of 1 GiB.
        write_words(self.page_map, *[pointers & PHYSICAL_MASK | PRESENT_WRITABLE_USER] * 256)
        write_words(pointers, *[i << 30 | HUGE | PRESENT_WRITABLE_USER for i in range(512)])
        kernel_code, kernel_data = 0x00AF9B000000FFFF, 0x00CF93000000FFFF
        user_data, user_code = 0x00CFF3000000FFFF, 0x00AFFB000000FFFF
        write_words(self.descriptors, 0, 0, kernel_code, kernel_data, 0, user_data, user_code)
        ctypes.memmove(self.task + 4, struct.pack("<Q", stack + PAGE), 8)  # the stack for interrupts
        # Start: sets XCR0 to all the states of AVX-512 (which also informs Bochs) and continues at the program.
        start = bytes.fromhex("31c9 31d2 b8e7000000 0f01d1")  # xor ecx, ecx; xor edx, edx; mov eax, 0xe7; xsetbv
        start += b"\x48\xb9" + struct.pack("<Q", entry)  # mov rcx, entry
        start += bytes.fromhex("49c7c302020000 480f07")  # mov r11, 0x202; sysretq
        ctypes.memmove(self.code, start, len(start))
        self.system_call_entry = self.code + 256
        ctypes.memmove(self.system_call_entry, b"\x48\x0f\x07", 3)  # sysretq
        handler = self.code + 320
        ctypes.memmove(handler, b"\x48\xcf", 2)  # iretq
        PRESENT_INTERRUPT_GATE = 0x8E00
        low, middle, high = handler & 0xFFFF, handler >> 16 & 0xFFFF, handler >> 32
        write_words(self.interrupts + 16 * INVALID_OPCODE,
                    low | KERNEL_CODE << 16 | PRESENT_INTERRUPT_GATE << 32 | middle << 48, high)

    def state(self, bochscpu, stack_top):
        def segment(selector, attributes, base=0, limit=0xFFFFFFFF):
            made = bochscpu.Segment()
            made.selector, made.base, made.limit, made.present, made.attr = selector, base, limit, True, attributes
            return made

        def table(base, limit):
            made = bochscpu.GlobalSegment()
            made.base, made.limit = base, limit
            return made

        state = bochscpu.State()
        state.cr0 = 0x80050033  # paging, write protection, numeric errors, protected mode
        state.cr3 = self.page_map & PHYSICAL_MASK
        state.cr4 = 0x506B0  # XSAVE, FSGSBASE, SSE and its exceptions, large pages, PAE
        state.efer = 0xD01  # long mode, no-execute, system calls
        state.xcr0 = 1
        state.cs, state.ss = segment(KERNEL_CODE, 0xA09B), segment(KERNEL_DATA, 0xC093)
        state.ds = state.es = state.fs = state.gs = segment(0, 0xC0F3)
        state.tr = segment(0x40, 0x008B, self.task, 0x67)
        state.gdtr, state.idtr = table(self.descriptors, 0x37), table(self.interrupts, 16 * 32 - 1)
        state.star = (USER_DATA - 8) << 48 | KERNEL_CODE << 32
        state.lstar = self.system_call_entry
        state.rip, state.rsp, state.rflags = self.code, stack_top, 0x202
        state.mxcsr, state.mxcsr_mask, state.fpcw = 0x1F80, 0xFFFF, 0x37F
        state.apic_base, state.pat = 0xFEE00900, 0x0007040600070406
        return state


class Emulation:
    """Runs a program on the emulated processor from its start to its end."""

    def __init__(self, bochscpu, program, arguments, tiles):
        image = Image(program)
        interpreter = Image(image.interpreter) if image.interpreter else None
        self.tiles = tiles
        if tiles:
            tiles.answer_cpuid_in(image.base, cpuid_addresses(program))
        kernel = Kernel((interpreter or image).entry)
        self.stretch = kernel.code & ~PHYSICAL_MASK
        self.status = None
        self.bochscpu = bochscpu
        self.session = bochscpu.Session()
        self.session.missing_page_handler = self._give_page
        self.session.cpu.state = kernel.state(bochscpu, make_stack(image, interpreter, [program, *arguments]))
        self.session.cpu.set_mode()
        self.system_calls = SystemCalls(self.session.cpu, self._end)

    def run(self):
        hook = self.bochscpu.Hook()
        hook.far_branch = self._far_branch
        hook.exception = self._exception
        self.session.run([hook])
        return self.status

    def _give_page(self, physical):
        self.bochscpu.memory.page_insert(physical & -PAGE, self.stretch + (physical & -PAGE))

    def _end(self, status):
        self.status = status
        self.session.stop()

    def _far_branch(self, _session, _cpu, kind, *_):
        # Bochs does not expect exceptions in its hooks.
        try:
            if kind == SYSTEM_CALL:
                self.system_calls.answer()
            elif kind == RETURN_FROM_INTERRUPT and not self.tiles.execute(self.session.cpu):
                self._give_up(INVALID_OPCODE)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(FAILED)

    def _exception(self, _session, _cpu, number, _code):
        # With tiles, an unknown instruction enters the kernel and is examined when it returns.
        if number != INVALID_OPCODE or not self.tiles:
            self._give_up(number)

    def _give_up(self, number):
        cpu = self.session.cpu
        code = ctypes.string_at(cpu.rip, 8).hex()
        print(f"emulator.py: exception {number} at {cpu.rip:#x} {code}", file=sys.stderr, flush=True)
        self._end(128 + number)


def import_bochs():
    """The package bochscpu. Its wheel uses the stable interface of CPython 3.12 but names its module's file as if it
    were for 3.12 only, so newer versions need the file's path. Raises ImportError if it is not installed."""
    name = "bochscpu._bochscpu"
    package = importlib.util.find_spec("bochscpu")
    if package and sys.version_info[:2] > (3, 12):
        for file in pathlib.Path(package.origin).parent.glob("_bochscpu.cpython-312-*.so"):
            module = importlib.util.spec_from_file_location(name, file)
            sys.modules[name] = importlib.util.module_from_spec(module)
            module.loader.exec_module(sys.modules[name])
    import bochscpu
    import bochscpu.memory
    return bochscpu


def cpuid_addresses(program):
    """The addresses at which the program itself, not its libraries, executes cpuid."""
    command = ["objdump", "-d", "--no-show-raw-insn", program]
    listing = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(address, 16) for address in re.findall(r"^ *([0-9a-f]+):\s+cpuid\b", listing.stdout, re.M)]


def main():
    parser = argparse.ArgumentParser(prog="emulator.py", usage="%(prog)s [--amx] PROGRAM [ARGUMENT...]")
    parser.add_argument("--amx", action="store_true")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    start_again()
    try:
        bochscpu = import_bochs()
        if options.amx:
            import amx
    except ImportError as error:
        print(f"skipped: {error}; a Python with bochscpu-python{' and numpy' if options.amx else ''} runs this")
        return SKIPPED
    emulation = Emulation(bochscpu, options.program, options.arguments, amx.Tiles() if options.amx else None)
    status = emulation.run()
    # Exits without Python's shutdown, which conflicts with that of Bochs.
    sys.stdout.flush()
    os._exit(FAILED if status is None else status)


if __name__ == "__main__":
    sys.exit(main())
