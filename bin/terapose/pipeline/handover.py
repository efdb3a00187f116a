"""What **check** hands on to **plan**: the plan itself, or what it is made of.

**check** has opened the image and makes the plan of it, so that nothing is looked up twice. It
cannot do so if the network is a URL, because the file is fetched later, once, nor if the diameter
or other parameters have yet to be found. Then it hands on a draft: the address of the image, the
parameters, and what identified the image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict

from terapose.core.errors import InputError
from terapose.core.params import Parameters, check
from terapose.io.images.identity import changed_image
from terapose.io.images.model import Image
from terapose.networks.ensemble import weight_files
from terapose.pipeline.around import before_plan, find
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import PLAN
from terapose.pipeline.image_plan import identity_of
from terapose.pipeline.plan import Plan
from terapose.pipeline.sized import plan_of
from terapose.pipeline.stage import Stage
from terapose.pipeline.tissue import find_tissue
from terapose.pipeline.upscale import cover_of, full_image


def identities(image: Image, params: Parameters) -> list[str]:
    """What identifies the image, its level 0 and the mask of tissue, as a plan has them."""
    full = full_image(image, params) if image.level else image
    images = [image] if cover_of(image, full) is None else [image, full]
    found = [identity_of(one, params.identity) for one in images]
    if not params.tissue:
        return found
    _, tissue = find_tissue(params.tissue, image.layout.shape, params.identity)
    return [*found, tissue.identity]


class Draft(BaseModel):
    """A plan that lacks its network, or parameters.

    Attributes
    ----------
    address
        Of the image.
    params
        Those of the plan and of the stages before it, as far as they are not the defaults.
    seen
        Identities of the image, its level 0 and the mask of tissue.
    code
        Of the plan, as a plan has it: what is handed on says by which code it is to be made, so the
        command that makes the plan does not get that in another way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    params: dict[str, Any]
    seen: tuple[str, ...]
    code: str

    @classmethod
    def of(cls, address: str, params: Parameters, seen: list[str]) -> Draft:
        """A draft of all parameters."""
        return cls(address=address, params=before_plan(params), seen=tuple(seen), code=PLAN.code)


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
            If the image or the mask of tissue are others than **check** has seen, or the code
            is.
        """
        PLAN.confirm_code(self.work.code)
        if isinstance(self.work, Plan):
            return self.work
        image, params = self._opened(self.work)
        plan = plan_of(image, weight_files(network), params)
        planned, mask = plan.image, plan.image.tissue
        known = {planned.identity, planned.full_identity, mask.identity if mask else ""}
        if not known.issuperset(self.work.seen):
            raise changed_image(planned.address)
        return plan

    def found(
        self, stage: Stage, network: Path, placing: Mapping[str, Any] | None = None
    ) -> Handed:
        """What is handed on after a stage before the plan: a draft with what it has found.

        A plan is handed on as it is: **check** makes one where no such stage is asked for.

        Parameters
        ----------
        stage
            The stage, which is run.
        network
            As of `plan`.
        placing
            The parameters `terapose.pipeline.around.PLACING`. A draft does not have them: the plan
            does not depend on them.

        Raises
        ------
        InputError
            If another part of the image is found, and it is another image than **check** has seen,
            or results cannot be brought to level 0 from there; or if the code is another one.
        """
        PLAN.confirm_code(self.work.code)
        if isinstance(self.work, Plan):
            return self
        seen = list(self.work.seen)
        image, params = self._opened(self.work, placing or {})
        opened, after = find(stage, image, params, weight_files(network))
        # only where it is needed: with `identity: content` the image is read for it
        if _identifying(after) != _identifying(params):
            if identities(image, params) != seen:
                raise changed_image(self.work.address)
            seen = identities(opened, after)
        return Handed(work=Draft.of(self.work.address, after, seen))

    @staticmethod
    def _opened(
        draft: Draft, placing: Mapping[str, Any] = MappingProxyType({})
    ) -> tuple[Image, Parameters]:
        params = check({**draft.params, **placing})
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


def _identifying(params: Parameters) -> tuple[object, ...]:
    """The parameters that identities depend on."""
    return params.selection, params.tissue, params.identity
