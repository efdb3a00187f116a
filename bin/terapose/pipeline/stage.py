"""What a stage is: its name, its items, what it comes after, and whether it runs.

A stage is *scattered* over items (blocks, slabs, planes or regions), a run of which is a task, or
it is a *gather*, which runs once when all receipts of a scattered stage are in. Both are modules of
`terapose.stages`, with one protocol:

- ``run(job) -> dict``: do one task; what is returned becomes part of the receipt;
- ``gather(job, results) -> Added``: return what is added to the state from which the next stage
  starts (`terapose.pipeline.state`), given what ``run`` returned in all tasks, by the name of their
  stage where there are several. Scattered stages whose receipts no other stage gathers have both.

Modules of stages with arrays that the plan alone decides (`Stage.folder`) have another function:

- ``prepare(plan, store) -> None``: make the arrays; whatever is there stays.

Around these are stages that have no job (`terapose.pipeline.around`). Their process calls a user
command, or they are modules of `terapose.stages`, too:

- ``find(image, params, model_files) -> dict``: before the plan; values of parameters, by name. It
  is given its own parameters and those of the plan; it may find those that the plan alone takes
  (`terapose.pipeline.around.FINDABLE`), and may not change the mode. Where it finds another part of
  the image, that is opened and checked again;
- ``look(results, output) -> None``: after the results are published; makes files in a folder.

The stage **whole** runs all others that work on the plan, where none of them has several tasks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from terapose.core.errors import InputError
from terapose.pipeline.code import code_of
from terapose.pipeline.estimate import Memory, MemoryGiven
from terapose.pipeline.traffic import Asked

if TYPE_CHECKING:
    from terapose.core.params import Parameters
    from terapose.pipeline.plan import Plan

Over = Literal["blocks", "counted", "slabs", "planes", "regions"]
"""Items of a scattered stage: blocks of the image, those whose intensities are counted, slabs of
the network's grid, runs of planes, regions of the output."""
Phase = Literal["before", "plan", "work", "whole", "after"]
"""When a stage runs: before the plan, as the plan, on it, as all those that work on it, or on
published results."""
Label = Literal["small", "blocks", "network", "gather"]
"""What a process asks a cluster for (conf/base.config)."""
Library = Literal["torch", "numpy", "numba"]
"""A library whose bits depend on the machine (`terapose.pipeline.machine`)."""
Input = Literal["network", "cells"]
"""What a task is given beside the store: the network's files, or results of a second network."""
MODES = ("3d", "2d", "stitch")


def always(mode: str, params: Parameters) -> bool:
    """Whether a stage is asked for that everybody needs."""
    return True


def everywhere(plan: Plan, params: Mapping[str, Any]) -> bool:
    """Whether a stage rounds with the libraries that it names, if it does so in all runs."""
    return True


@dataclass(frozen=True)
class Stage:
    """One stage of the work.

    Attributes
    ----------
    name
        Its name; what precedes a hyphen also names its module and command.
    help
        What it does, in one line.
    label
        What its process asks for.
    phase
        When it runs; what is said below of items and receipts is of those that work on the plan.
    calls
        Command of people that its process calls, if not that of the stage.
    over
        Its items; None: a gather.
    gathers
        The scattered stages whose receipts a gather takes.
    axis
        Orientation of a pass of the network, one of `terapose.core.geometry.AXES`.
    input
        What its tasks are given beside the store, if anything.
    reads_image
        Whether its tasks read the image: the workflow stages it for them. Stages around the plan
        say in their processes what they read.
    rounds
        Libraries that it computes with whose bits may be others on other machines, as far as its
        results can show that: not sums of whole numbers, and not the four basic operations, which
        all machines round alike.
    rounds_where
        Whether it does so, given the plan and its own parameters.
    threaded
        The library with which a task uses several cores.
    folder
        Folder in the store of the arrays that the plan alone decides: they are made with the plan,
        and there is no key in their names.
    results
        Whether it writes results to a folder; other gathers leave a summary.
    parameters
        Those that it takes. Changing one runs it again, and all that follows; not so those that say
        how it runs or what it keeps (`terapose.pipeline.job`), with which it finds its work done.
        With ``use_gpu`` its tasks run on a GPU where one is asked for, and its module also has
        ``tiles_at_once(job) -> int``: what is computed at once there, on which bits may depend.
    memory
        Bytes that a task needs; None: a gather, whose memory does not grow with the image.
    memory_given
        The same where its own parameters are known, if these matter. What is planned does not
        depend on them.
    requests
        Requests for chunks on an object store of all its tasks; None: a gather, which works on
        tables.
    modes
        In which it has work.
    asked
        Whether parameters ask for it, given the mode.
    version
        Raised where its results change though neither its code nor what it imports of this package
        did (`terapose.pipeline.code`).
    uses
        Modules whose code is part of the stage's though its module does not import them.
    includes
        Stages whose code is part of this one's.
    """

    name: str
    help: str
    label: Label
    phase: Phase = "work"
    calls: str = ""
    over: Over | None = None
    gathers: tuple[str, ...] = ()
    axis: str = ""
    input: Input | None = None
    reads_image: bool = False
    rounds: tuple[Library, ...] = ()
    rounds_where: Callable[[Plan, Mapping[str, Any]], bool] = everywhere
    threaded: Library | None = None
    folder: str = ""
    results: bool = False
    parameters: tuple[str, ...] = ()
    memory: Memory | None = None
    memory_given: MemoryGiven | None = None
    requests: Asked | None = None
    modes: tuple[str, ...] = MODES
    asked: Callable[[str, Parameters], bool] = always
    version: int = 1
    uses: tuple[str, ...] = ()
    includes: tuple[Stage, ...] = ()

    @property
    def command(self) -> str:
        """Name of the module and the command."""
        return self.name.partition("-")[0]

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules whose code, with all that they import, is that of the stage."""
        own = f"cli.{self.calls}" if self.calls else f"stages.{self.command}"
        included = (name for stage in self.includes for name in stage.modules)
        return (own, *self.uses, *included)

    @property
    def code(self) -> str:
        """What distinguishes its code from other code."""
        # versions are only raised, so their sum grows whichever of them is
        version = self.version + sum(stage.version - 1 for stage in self.includes)
        return f"{version}-{code_of(*self.modules)[:16]}"

    def confirm_code(self, code: str) -> None:
        """Refuse to go on with other code than the run began with.

        Parameters
        ----------
        code
            That of this stage, as **check** has printed it.

        Raises
        ------
        InputError
            If it has changed meanwhile.
        """
        if code != self.code:
            raise InputError(
                "the code has changed since the run began",
                where=f"stage {self.name}",
                got=self.code,
                allowed=code,
                remedy="run again with -resume: what it changes is computed again",
            )

    @property
    def uses_gpu(self) -> bool:
        """Whether its tasks run on a GPU where one is asked for."""
        return "use_gpu" in self.parameters

    @property
    def implementation(self) -> Any:
        """Its module."""
        return importlib.import_module(f"terapose.stages.{self.command}")

    def rounding(self, plan: Plan, params: Mapping[str, Any]) -> tuple[Library, ...]:
        """The libraries on whose bits its results depend in a run."""
        return self.rounds if self.rounds_where(plan, params) else ()

    def projected(self, plan: Plan, params: Parameters | None = None) -> int:
        """Bytes that a task needs, of a stage with tasks.

        Parameters
        ----------
        plan
            The plan.
        params
            All parameters, if those of later stages are known.
        """
        if params is not None and self.memory_given is not None:
            return self.memory_given(plan, params.model_dump(include=set(self.parameters)))
        return self.memory(plan) if self.memory is not None else 0

    def is_asked(self, mode: str, params: Parameters) -> bool:
        """Whether it runs, as far as that is known before there is a plan."""
        return mode in self.modes and self.asked(mode, params)

    def runs(self, plan: Plan, params: Parameters) -> bool:
        """Whether it runs: the one answer to this."""
        has_items = self.over is None or bool(plan.tasks[self.name])
        return has_items and self.is_asked(plan.mode, params)
