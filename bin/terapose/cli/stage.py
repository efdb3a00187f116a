"""`terapose stage NAME`: what the processes of the workflow call."""

from __future__ import annotations

import importlib

import click

from terapose.pipeline.graph import commands


class Stages(click.Group):
    """One command a stage, imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All stages in the order in which they run, and what is called for several."""
        return [*reversed(commands()), "gather", "each"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in self.list_commands(ctx):
            return None
        stage = commands().get(name)
        if name == "each":
            place = name
        elif stage is None or stage.phase == "work":
            place = "scattered" if stage and stage.over else "gathers"
        else:
            place = {"plan": "plan", "whole": "whole"}.get(stage.phase, "around")
        found: click.Command = importlib.import_module(f"terapose.cli.{place}").commands[name]
        return found


@click.group(
    cls=Stages,
    epilog="""\b
Example:
  terapose stage peaks --plan plan.json --store store --before follow.json --task 0 \\
    --output 0.json""",
)
def command() -> None:
    """Run one task or one gather of a stage, as the workflow does."""
