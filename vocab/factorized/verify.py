"""Check a directory with kept factors by opening it, before anybody else can."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from align.errors import OutputError, ToolkitError
from vocab.factorized.output import FACTORS
from vocab.model_files.checkpoint import open_checkpoint, tensor_bytes
from vocab.model_files.layout import VocabLayout
from vocab.model_files.verify import (
    PROBES,
    Verification,
    check_forward,
    check_tokenizer,
    reason_not_to_load,
    round_trip,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def verify_factorized(
    folder: str | Path,
    tokenizer: PreTrainedTokenizerFast,
    layout: VocabLayout,
    digests: Mapping[str, str],
    *,
    n_rows: int,
    texts: Sequence[str] = (),
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> Verification:
    """As :func:`vocab.model_files.verify.verify_directory`, through :func:`vocab.load_factorized`.

    Raises
    ------
    OutputError
        For the first check that fails.
    """
    from vocab.factorized.model import load_factorized

    folder = Path(folder)
    probes = [*PROBES, *texts]
    reloaded = check_tokenizer(folder, tokenizer, probes, trust_remote_code=trust_remote_code)
    checkpoint = open_checkpoint(folder / FACTORS)
    for name, digest in digests.items():
        if hashlib.sha256(tensor_bytes(checkpoint.read(name))).hexdigest() != digest:
            raise OutputError(
                "the written model failed its check: other values than were written", where=name
            )
    forward = reason_not_to_load(checkpoint, layout)
    if not forward:
        try:
            model = load_factorized(folder)
        except ToolkitError as error:
            raise OutputError(
                f"the written model failed its check: {error.what}", where=error.where
            ) from error
        check_forward(model, reloaded, probes, folder, n_rows=n_rows, device=device)
        forward = "passed"
    return Verification(n_rows, len(digests), len(probes), round_trip(reloaded, probes), forward)
