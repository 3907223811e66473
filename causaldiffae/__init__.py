__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING

# What a user needs, and where it stands; a module is imported when one of its names is first asked for
_where = {
    "CausalGraph": "graph", "shift": "graph",
    "CausalDataset": "data.core", "LabelScale": "data.core",
    "pendulum": "data.pendulum", "morphomnist": "data.morphomnist", "circuit": "data.circuit",
    "from_folder": "data.folder", "from_huggingface": "data.folder",
    "show_images": "images",
    "Route": "sampling", "solvers": "sampling",
    "CausalDiffAE": "model", "load_model": "files",
    "DiffSCM": "baselines.diffscm",
    "fit": "training",
    "evaluate": "evaluation",
    "explore": "explorer", "show_counterfactuals": "explorer",
}
__all__ = ["__version__", *_where]

if TYPE_CHECKING:   # the same for type checkers, which do not run code
    from .graph import CausalGraph as CausalGraph, shift as shift
    from .data.core import CausalDataset as CausalDataset, LabelScale as LabelScale
    from .data.pendulum import pendulum as pendulum
    from .data.morphomnist import morphomnist as morphomnist
    from .data.circuit import circuit as circuit
    from .data.folder import from_folder as from_folder, from_huggingface as from_huggingface
    from .images import show_images as show_images
    from .sampling import Route as Route, solvers as solvers
    from .model import CausalDiffAE as CausalDiffAE
    from .files import load_model as load_model
    from .baselines.diffscm import DiffSCM as DiffSCM
    from .training import fit as fit
    from .evaluation import evaluate as evaluate
    from .explorer import explore as explore, show_counterfactuals as show_counterfactuals


def __getattr__(name):
    if name not in _where: raise AttributeError(f"module 'causaldiffae' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"causaldiffae.{_where[name]}"), name)
    return value


def __dir__(): return sorted({*globals(), *_where})
