"""The program's system calls and its threads."""

import collections
import ctypes
import errno
import os
import struct
import time

from memory import read_word32, system_call

REGISTERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
             "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")  # in the order of their numbers


class Thread:
    """The registers of a thread of the program while another thread runs. Vector registers are not saved, because they
    are not preserved across a call, and threads only switch in system calls."""

    def __init__(self, number, registers, thread_pointer):
        self.number, self.registers, self.thread_pointer = number, registers, thread_pointer
        self.clear_at_exit = 0  # an address, or 0 for none
        self.waits_for = None  # the address of a futex, until deadline_s or without a limit
        self.deadline_s = None


class Threads:
    """The threads of the program; one of them runs on the processor."""

    def __init__(self, cpu):
        self.cpu = cpu
        self.running = Thread(os.getpid(), None, None)
        self.ready = collections.deque()
        self.waiting = []
        self.last_number = self.running.number

    def start(self, flags, stack, parent_number_at, child_number_at, thread_pointer):
        """Implements clone(2) for a thread."""
        CLONE_VM, PARENT_SETTID, CHILD_CLEARTID = 0x100, 0x100000, 0x200000
        if not flags & CLONE_VM:
            return -errno.ENOSYS
        self.last_number += 1
        registers = self._registers()
        registers["rax"], registers["rsp"] = 0, stack
        thread = Thread(self.last_number, registers, thread_pointer)
        if flags & PARENT_SETTID:
            ctypes.c_uint32.from_address(parent_number_at).value = thread.number
        if flags & CHILD_CLEARTID:
            thread.clear_at_exit = child_number_at
        self.ready.append(thread)
        return thread.number

    def exit(self):
        """Ends the running thread; returns False if it was the last one."""
        if self.running.clear_at_exit:
            ctypes.c_uint32.from_address(self.running.clear_at_exit).value = 0
            self.wake(self.running.clear_at_exit, 1)
        if not self.ready and not self.waiting:
            return False
        self._run_next()
        return True

    def wait(self, address, deadline_s):
        """Makes the running thread wait and lets another one run."""
        self.running.waits_for, self.running.deadline_s = address, deadline_s
        self.cpu.rax = 0
        self._keep_running()
        self.waiting.append(self.running)
        self._run_next()

    def wake(self, address, count):
        woken = [thread for thread in self.waiting if thread.waits_for == address][:count]
        for thread in woken:
            self._make_ready(thread)
        return len(woken)

    def take_turns(self):
        if self.ready or any(thread.deadline_s is not None for thread in self.waiting):
            self._keep_running()
            self.ready.append(self.running)
            self._run_next()

    def _make_ready(self, thread):
        self.waiting.remove(thread)
        thread.waits_for = thread.deadline_s = None
        self.ready.append(thread)

    def _end_waits(self):
        now_s = time.monotonic()
        for thread in [each for each in self.waiting if each.deadline_s is not None and each.deadline_s <= now_s]:
            self._make_ready(thread)
            thread.registers["rax"] = (1 << 64) - errno.ETIMEDOUT

    def _run_next(self):
        self._end_waits()
        while not self.ready:
            deadlines = [thread.deadline_s for thread in self.waiting if thread.deadline_s is not None]
            if not deadlines:
                raise RuntimeError("every thread of the program waits for another one")
            time.sleep(max(0.0, min(deadlines) - time.monotonic()))
            self._end_waits()
        self.running = self.ready.popleft()
        for name, value in self.running.registers.items():
            setattr(self.cpu, name, value)
        self.set_thread_pointer(self.running.thread_pointer)

    def _registers(self):
        return {name: getattr(self.cpu, name) for name in REGISTERS}

    def _keep_running(self):
        self.running.registers = self._registers()
        self.running.thread_pointer = self.cpu.fs.base

    def set_thread_pointer(self, address):
        segment = self.cpu.fs
        segment.base = address
        self.cpu.fs = segment


class SystemCalls:
    """Passes the program's system calls on, and handles those about its process itself."""

    def __init__(self, cpu, end):
        self.cpu, self.end = cpu, end  # end(status)
        self.threads = Threads(cpu)
        none = lambda *_: 0
        self.own = {
            12: none,  # brk: no heap, so that memory is mmap's
            13: none, 14: none, 131: none,  # rt_sigaction, rt_sigprocmask, sigaltstack
            24: self._sched_yield,
            56: self.threads.start,  # clone
            57: self._absent, 58: self._absent, 59: self._absent, 435: self._absent,  # fork, vfork, execve, clone3
            60: self._exit,
            158: self._arch_prctl,
            186: lambda *_: self.threads.running.number,  # gettid
            202: self._futex,
            218: self._set_tid_address,
            228: self._clock_gettime,
            231: lambda status, *_: self.end(status & 0xFF),  # exit_group
            273: none, 334: self._absent,  # set_robust_list, rseq
        }

    def answer(self):
        """Called when the program has made a system call. Leaves its answer in the registers, or replaces all registers
        with those of another thread, which continues."""
        cpu = self.cpu
        number, arguments = cpu.rax, (cpu.rdi, cpu.rsi, cpu.rdx, cpu.r10, cpu.r8, cpu.r9)
        own = self.own.get(number)
        # None as an answer means that the registers are already correct.
        result = own(*arguments[:5]) if own else system_call(number, *arguments)
        if result is not None:
            cpu.rax = result & (1 << 64) - 1

    def _absent(self, *_):
        return -errno.ENOSYS

    def _sched_yield(self, *_):
        self.cpu.rax = 0
        self.threads.take_turns()

    def _clock_gettime(self, *arguments):  # called in the loop of a thread that spins
        self.cpu.rax = system_call(228, *arguments[:2]) & (1 << 64) - 1
        self.threads.take_turns()

    def _exit(self, status, *_):
        if not self.threads.exit():
            self.end(status & 0xFF)

    def _arch_prctl(self, code, address, *_):
        SET_FS, REQUEST_PERMISSION = 0x1002, 0x1023
        if code == SET_FS:
            self.threads.set_thread_pointer(address)
            return 0
        return 0 if code == REQUEST_PERMISSION else -errno.EINVAL

    def _set_tid_address(self, address, *_):
        self.threads.running.clear_at_exit = address
        return self.threads.running.number

    def _futex(self, address, operation, value, timeout, *_):
        WAIT, WAKE, WAIT_BITSET, WAKE_BITSET, REALTIME = 0, 1, 9, 10, 256
        kind = operation & 0x7F
        if kind in (WAKE, WAKE_BITSET):
            return self.threads.wake(address, value & 0x7FFFFFFF)
        if kind not in (WAIT, WAIT_BITSET):
            return -errno.ENOSYS
        if read_word32(address) != value & 0xFFFFFFFF:
            return -errno.EAGAIN
        deadline_s = None
        if timeout:
            seconds, nanoseconds = struct.unpack("<qq", ctypes.string_at(timeout, 16))
            deadline_s = seconds + nanoseconds * 1e-9
            if kind == WAIT:  # the timeout is relative
                deadline_s += time.monotonic()
            elif operation & REALTIME:
                deadline_s += time.monotonic() - time.time()
        self.threads.wait(address, deadline_s)
        return None
