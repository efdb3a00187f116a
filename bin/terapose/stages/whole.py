"""whole: all stages of a sample, one after another, in one task.

Starting a task costs more than a second of processor time, plus the wait in a scheduler's queue. So
if no stage of a plan has several tasks, as with a small image, the workflow starts one task that
does what `terapose segment` does: stages run in the order of the graph, in this process. What leads
from flows to labels is in memory meanwhile (`terapose.io.store.held`), unless all intermediates are
kept; other arrays, markers and receipts are in the store. The bytes are those of a run that is
split, and a run that was stopped, or is repeated with other parameters, goes on from what is there:
the network's flows above all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from terapose.core.params import Parameters
from terapose.io.store.store import Store
from terapose.pipeline.graph import STAGES
from terapose.pipeline.local import Runner, for_one_process, repairing, run_stages
from terapose.pipeline.plan import Plan
from terapose.pipeline.state import State


def run(
    plan: Plan, store: Store, params: Parameters, given: Mapping[str, Mapping[str, Any]]
) -> State:
    """Run all stages after the plan.

    Parameters
    ----------
    plan, store
        The plan, and the store in which `terapose.stages.plan.run` made the arrays.
    params
        Parameters, with those of all stages.
    given
        By command, what stages take besides their parameters: files of networks, and the folder for
        the results.

    Returns
    -------
    State
        The one from which the stage with the results has started: what these are compared with.

    Raises
    ------
    InputError
        For whatever is found to be wrong with the image.
    StoreError
        If something in the store is damaged time and again.
    """
    runner = Runner(plan, for_one_process(store, params))
    done = repairing(runner, lambda: run_stages(runner, params, given))
    return [state for name, state in done.states.items() if not STAGES[name].results][-1]
