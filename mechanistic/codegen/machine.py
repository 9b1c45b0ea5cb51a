"""A module of LLVM as machine code that runs, kept in the user's private cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import llvmlite
import llvmlite.binding as llvm

from mechanistic.codegen.private_folder import private_folder

# The code is straight lines of shared terms already: neither LLVM's passes over its own form nor a more thorough
# choice of instructions make it faster, and both take several times as long.
_EFFORT = 1


class Compiled:
    """Machine code of one module; keeps it alive. Taken from the user's private cache if made before.

    Args:
        text: the module, or what writes it: then only where it is not in the cache.
        stamp: what the text depends on, where it is written on demand; its variables are then put into registers.
        vectors: loops are made to take several numbers at once.
    """

    def __init__(self, text: str | Callable[[], str], stamp: str | None = None, vectors: bool = False):
        machine = _machine()
        said = stamp if callable(text) else text
        assert isinstance(said, str)
        parts = (said, llvmlite.__version__, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
        name = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        folder = private_folder("pathways")
        file = None if folder is None else folder / f"{name}.o"
        kept = file.read_bytes() if file is not None and file.exists() else None
        if kept is None:
            module = llvm.parse_assembly(text() if callable(text) else text)
            module.verify()
            if stamp is not None:
                _tidy(module, machine, vectors)
            kept = machine.emit_object(module)
            if file is not None:
                _write(file, kept)
        # an empty module brings the engine to life; the code itself is the object file
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(kept))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        return self._engine.get_function_address(name)


def _tidy(module, machine, vectors: bool) -> None:
    """The few passes of LLVM that loops gain by: one function of many, variables in registers, nothing twice.

    With `vectors` all that LLVM has, where loops over rows of numbers are what takes the time.
    """
    if vectors:
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization, options.loop_interleaving = True, False  # rows are short
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        return
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_dead_code_elimination_pass()
    passes.add_simplify_cfg_pass()
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    passes.run(module, llvm.create_pass_builder(machine, options))


def _machine():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # "jitdefault" lets the code lie anywhere in memory relative to the mathematics library
    return llvm.Target.from_default_triple().create_target_machine(
        opt=_EFFORT,
        jit=True,
        reloc="pic",
        codemodel="jitdefault",
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
    )


def _write(file, data: bytes) -> None:
    import os
    import tempfile

    try:
        handle, name = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.replace(name, file)
    except OSError:
        # a full disk costs a compilation next time, nothing else
        return
