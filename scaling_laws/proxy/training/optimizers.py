"""Update directions: each optimizer without the learning rate and the weight decay.

An update is ``p <- p - lr·(width_factor·direction + weight_decay·p)``, with decay on matrices only.

**Width.** At `BASE_WIDTH` every factor is one. At other widths, matrices that sum over the width
have the factor `BASE_WIDTH/width` (entries of Adam's updates have equal size, so their sum grows
with the number of inputs); the embedding and the gains have one. These are the learning rates of µP
for Adam (Yang et al. 2022, arXiv 2203.03466, table 3) with unchanged initial values (the "standard
parameterization with per-layer rates" of Everett et al. 2024, arXiv 2407.05872). A matrix optimizer
updates all directions of a hidden matrix equally, so its exponent is 1/2: the spectral norm of its
updates grows with the square root of the width (the spectral condition of Yang, Simon & Bernstein
2023, arXiv 2310.17813). The decay is not scaled, so that the decay rate lr·weight_decay of the
weights is the same at every width (Wang & Aitchison 2024, arXiv 2405.13698).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from scaling_laws.common import ProxyError, find_by_name
from scaling_laws.proxy.training import transformer
from scaling_laws.proxy.training.model_sizes import BASE_WIDTH, Size

__all__ = [
    "BETA1",
    "BETA2",
    "CLIP",
    "OPTIMIZERS",
    "WIDTH_RULES",
    "Optimizer",
    "get_optimizer",
    "width_factors",
]

BETA1 = 0.95  # instead of the usual 0.9: a third less noise in the validation loss
BETA2 = 0.99
CLIP = 1.0  # largest global gradient norm
MUON_BETA = 0.95
MUON_SCALE = 0.2  # times sqrt(larger side): entries as large as Adam's, arXiv 2502.16982, section 2
WIDTH_RULES = ("per-layer", "none")
TABLES = ("embedding", "head")  # not hidden: matrix optimizers use Adam for them


@dataclass(frozen=True)
class Optimizer:
    """A map from gradients to an update direction.

    Attributes:
        name: the value of ``--optimizer``.
        description: one line, with the source.
        transform: from a model's parameters (or their shapes) to the transformation of clipped
            gradients; the caller multiplies by the learning rate and adds the decay.
        hidden_power: exponent of BASE_WIDTH/width in the factor of hidden matrices, see above.
    """

    name: str
    description: str
    transform: Callable[[transformer.Parameters], optax.GradientTransformation]
    hidden_power: float = 1.0


def _adam(parameters: transformer.Parameters | None = None) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=BETA1, b2=BETA2, eps=1e-8)


def _muon(parameters: transformer.Parameters) -> optax.GradientTransformation:
    """Orthogonalised momentum on hidden matrices, Adam on embedding, head and gains."""

    def scaled(updates: Any, state: Any, parameters: Any = None) -> tuple[Any, Any]:
        def scale(leaf: jax.Array) -> jax.Array:
            return jnp.multiply(leaf, MUON_SCALE * max(leaf.shape) ** 0.5)

        return jax.tree.map(scale, updates), state

    def dimensions(updates: Any) -> Any:  # without these, optax treats a tree as a single matrix
        return jax.tree.map(lambda leaf: contrib.MuonDimensionNumbers(), updates)

    matrices = optax.chain(
        contrib.scale_by_muon(beta=MUON_BETA, weight_dimension_numbers=dimensions),
        optax.GradientTransformation(lambda parameters: optax.EmptyState(), scaled),
    )

    def label(path: tuple[Any, ...], leaf: jax.Array) -> str:
        return "matrix" if leaf.ndim == 2 and path[0].key not in TABLES else "rest"

    labels = jax.tree_util.tree_map_with_path(label, parameters)
    return optax.partition({"matrix": matrices, "rest": _adam()}, labels)


OPTIMIZERS: tuple[Optimizer, ...] = (
    Optimizer("adamw", "Adam with decoupled decay (Loshchilov & Hutter 2019)", _adam),
    Optimizer(
        "muon",
        "orthogonalised momentum on hidden matrices (Jordan 2024), Adam elsewhere",
        _muon,
        hidden_power=0.5,
    ),
)


def get_optimizer(name: str) -> Optimizer:
    """The registered optimizer of that name.

    Raises:
        ProxyError: listing the near matches if there is none.
    """
    return find_by_name("optimizer", name, OPTIMIZERS, ProxyError)


def width_factors(
    parameters: transformer.Parameters, size: Size, rule: str, optimizer: str = "adamw"
) -> transformer.Parameters:
    """The factor of the direction of each leaf, same nesting, Python floats.

    Args:
        parameters: of that size.
        size: determines the width.
        rule: one of `WIDTH_RULES`.
        optimizer: a name of `OPTIMIZERS`.
    """
    ratio = BASE_WIDTH / size.width if rule == "per-layer" else 1.0
    power = get_optimizer(optimizer).hidden_power

    def factor(path: tuple[Any, ...], leaf: jax.Array) -> float:
        if leaf.ndim != 2 or path[0].key == "embedding":
            return 1.0
        return ratio if path[0].key == "head" else float(ratio**power)

    factors: transformer.Parameters = jax.tree_util.tree_map_with_path(factor, parameters)
    return factors
