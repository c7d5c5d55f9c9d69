"""Model-randomization sanity check (Adebayo et al. 2018): explanations of randomized networks beside the real ones."""

from __future__ import annotations

import copy

from ignite.engine import Engine
from monai.engines import IterationEvents

from doll_monai.handlers.engine import output_of
from doll_monai.handlers.explainer import Explainer
from doll_monai.networks.committee import Committee, member_keys
from doll_monai.networks.randomize import randomize


class RandomizedExplainer:
    """Adds what an explainer would say of the same networks with all parameters drawn anew (``randomize``).

    The explainer is copied with all its settings when the first image comes, after the checkpoint was loaded. Only the
    copy's maps go into the engine's output, ``{prefix}_0`` ... ``{prefix}_{K-1}``, (B, T, H, W): its completeness
    errors and steps would stand in the place of the real ones.

    Args:
        explainer: an attached handler, such as ``IntegratedGradientsHandler``.
        seed: of the parameters; member k takes ``seed + k``.
        output_prefix: name of the maps.
    """

    def __init__(self, explainer: Explainer, seed: int = 0, output_prefix: str = "randomized") -> None:
        self.explainer = explainer
        self.seed = seed
        self.output_prefix = output_prefix
        self._copy: Explainer | None = None

    def attach(self, engine: Engine) -> None:
        """Explain after each forward pass of the engine, before it post-processes."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if self._copy is None:
            self._copy = copy.deepcopy(self.explainer)
            self._copy.output_prefix = self.output_prefix
            for number, network in enumerate(self._copy.networks):
                randomize(network, self.seed + number)
        output = output_of(engine)
        before = dict(output)
        self._copy(engine)
        maps = {key: value for key, value in output.items() if key.startswith(f"{self.output_prefix}_")}
        output.clear()
        output.update(before | maps)


def explained_keys(committee: Committee) -> list[str]:
    """Keys of the members' maps and of the randomized members', which are processed alike."""
    return member_keys("attribution", committee) + member_keys("randomized", committee)
