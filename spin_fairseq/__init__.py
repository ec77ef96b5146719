"""Spin (speaker-invariant clustering) as a fairseq plugin: importing this package registers it.

Without fairseq installed, nothing is registered, and `perturbation`, `modules` and `evaluation` can be used alone.
"""

from importlib.util import find_spec

__version__ = "0.1.0"

if find_spec("fairseq") is not None:
    from . import compat

    compat.apply()

    from .criterions import swapped_prediction  # noqa: E402,F401
    from .models import spin as _spin_model  # noqa: E402,F401
    from .models import wavlm as _wavlm_model  # noqa: E402,F401
    from .tasks import spin as _spin_task  # noqa: E402,F401
