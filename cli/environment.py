"""What a bug report needs to know of a machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from align import __version__

_PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "numba",
    "faiss-cpu",
    "fasttext-wheel",
)
_VARIABLES = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def environment() -> dict[str, str]:
    """Versions, processors, memory, GPU and the variables that matter."""
    found = {
        "vocab-transfer": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    found["processors"] = str(os.cpu_count())
    if hasattr(os, "sysconf"):
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory"] = f"{pages / 2**30:.1f} GiB"
    import torch

    found["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return found | {name: os.environ[name] for name in _VARIABLES if name in os.environ}
