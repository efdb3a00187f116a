"""What **check** hands on to **plan**: the plan itself, or what it is made of.

**check** has opened the image and makes the plan of it, so that nothing is looked up twice. Only
where the network has a URL it cannot: the file is fetched later, once. Then it hands on the address
of the image, the parameters of the plan, and what told the image from others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from terapose.core.errors import InputError
from terapose.core.params import Parameters, check
from terapose.io.images.identity import changed_image
from terapose.networks import identify_all
from terapose.networks.ensemble import weight_files
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import PLAN
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan


class Draft(BaseModel):
    """A plan that lacks its network.

    Attributes
    ----------
    address
        Of the image.
    params
        The parameters of the plan, as far as they are not the defaults.
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
        own = params.model_dump(mode="json", include={*PLAN.parameters}, exclude_defaults=True)
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
        params = check(self.work.params)
        image = open_checked(self.work.address, params)
        plan = make_plan(image, identify_all(weight_files(network)), params)
        planned, mask = plan.image, plan.image.tissue
        known = {planned.identity, planned.full_identity, mask.identity if mask else ""}
        if not known.issuperset(self.work.seen):
            raise changed_image(planned.address)
        return plan

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
                "is not what terapose check hands on", where="standard input", got=error
            ) from error
