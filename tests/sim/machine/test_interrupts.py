"""Signals: at once where nothing is kept, after a checkpoint where something is, and never waited for long."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BEGIN = """
import os, signal, time
from sim.machine import interrupts
interrupts.PATIENCE = 1.0
interrupts.install()
interrupts.last_words(lambda: "guarded" if interrupts.guarded() else "free")
def ask(number=signal.SIGTERM):
    os.kill(os.getpid(), number)
"""


def ended(text: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process that does this."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + text],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_with_nothing_to_lose_a_process_ends_at_once(number):
    assert ended(f"ask({int(number)}); time.sleep(50)") == (128 + number, "", "free\n")


def test_a_guarded_process_is_asked_and_has_all_the_time_once_it_heard():
    text = "interrupts.guard(True); ask(); print(interrupts.requested()); time.sleep(2.5); print('kept')"
    assert ended(text) == (0, "15\nkept\n", "")


def test_signals_to_a_process_and_to_its_group_are_one():
    text = "interrupts.guard(True); ask(); ask(); print(interrupts.requested()); time.sleep(1); print('kept')"
    assert ended(text) == (0, "15\nkept\n", "")


def test_a_second_signal_ends_at_once():
    text = "interrupts.guard(True); ask(); interrupts.requested(); time.sleep(0.6); ask(2); time.sleep(50)"
    code, out, err = ended(text)
    assert (code, out) == (130, "") and err.startswith("guarded\n")


def test_a_process_that_does_not_hear_in_time_is_ended_all_the_same():
    """In Python code, and in code that lets no handler of Python's run."""
    code, _, err = ended("interrupts.guard(True); ask()\nwhile True: pass")
    assert code == 143 and err == "guarded\n"
    inside = """
import ctypes, threading
interrupts.guard(True)
threading.Timer(0.2, ask).start()
libc = ctypes.CDLL(None)
blocked = (ctypes.c_byte * 64)()
mutex = ctypes.byref(blocked)
libc.pthread_mutex_lock(mutex)
libc.pthread_mutex_lock(mutex)
"""
    code, _, err = ended(inside)
    assert code == 143 and err == "guarded\n"
