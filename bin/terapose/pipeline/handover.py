"""What **check** hands on to **plan**: the plan itself, or what it is made of.

**check** has opened the image and makes the plan of it, so that nothing is looked up twice. It
cannot where the network has a URL, for the file is fetched later, once, nor where a stage before
the plan has yet to find parameters. Then it hands on a draft: the address of the image, the
parameters, and what told the image from others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from terapose.core.errors import InputError
from terapose.core.params import Parameters, check
from terapose.io.images import Image
from terapose.io.images.identity import changed_image
from terapose.networks import identify_all
from terapose.networks.ensemble import weight_files
from terapose.pipeline.around import find
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import BEFORE, PLAN
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.pipeline.stage import Stage


class Draft(BaseModel):
    """A plan that lacks its network, or parameters.

    Attributes
    ----------
    address
        Of the image.
    params
        Those of the plan and of the stages before it, as far as they are not the defaults.
    seen
        Identities of the image, of its level 0 and of the mask of tissue.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    params: dict[str, Any]
    seen: tuple[str, ...]

    @classmethod
    def of(cls, address: str, params: Parameters, seen: list[str]) -> Draft:
        """A draft of all parameters."""
        names = {name for stage in (*BEFORE, PLAN) for name in stage.parameters}
        own = params.model_dump(mode="json", include=names, exclude_defaults=True)
        return cls(address=address, params=own, seen=tuple(seen))


class Handed(BaseModel):
    """Either of the two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    work: Plan | Draft

    @property
    def text(self) -> str:
        """As JSON, without line breaks and tabulators."""
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":"))

    def plan(self, network: Path) -> Plan:
        """The plan.

        Parameters
        ----------
        network
            The network's file, or a folder that ``terapose fetch`` has filled.

        Raises
        ------
        InputError
            If the image or the mask of its tissue are others than **check** has seen.
        """
        if isinstance(self.work, Plan):
            return self.work
        image, params = self._opened(self.work)
        plan = make_plan(image, identify_all(weight_files(network)), params)
        planned, mask = plan.image, plan.image.tissue
        known = {planned.identity, planned.full_identity, mask.identity if mask else ""}
        if not known.issuperset(self.work.seen):
            raise changed_image(planned.address)
        return plan

    def found(self, stage: Stage, network: Path) -> Handed:
        """What is handed on after a stage before the plan: a draft with what it has found."""
        assert isinstance(self.work, Draft)  # check makes no plan where such a stage is asked for
        image, params = self._opened(self.work)
        params = find(stage, image, params, weight_files(network))
        return Handed(work=Draft.of(self.work.address, params, list(self.work.seen)))

    @staticmethod
    def _opened(draft: Draft) -> tuple[Image, Parameters]:
        params = check(draft.params)
        return open_checked(draft.address, params), params

    @classmethod
    def read(cls, text: str) -> Handed:
        """What a text holds.

        Raises
        ------
        InputError
            If it is not what **check** hands on.
        """
        try:
            return cls.model_validate(json.loads(text))
        except ValueError as error:
            raise InputError(
                "is not the output of terapose check",
                where="standard input",
                got=text[:60] or "nothing",
            ) from error
