"""The source model of a transfer and its tokenizer: here, on the hub, or in memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from align.errors import UnavailableError
from vocab.options import TransferOptions
from vocab.progress import Decisions
from vocab.tokens import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from vocab.hub import ResolvedModel


@dataclass(frozen=True, eq=False)
class Source:
    """A source model on disk and its tokenizer."""

    path: Path
    name: str
    revision: str | None
    tokenizer: PreTrainedTokenizerFast
    vocabulary: Vocabulary


def source_at_hand(options: TransferOptions, decisions: Decisions) -> Source | None:
    """The source model if it is on this machine; None if it has to be fetched, which asks first.

    Of a branch or tag what is here may be of another day, so a revision is asked for, not looked up.
    """
    from vocab.hub import is_offline

    try:
        found = _resolved(options, offline=True)
    except UnavailableError:
        return None
    may_be_old = options.revision is not None and not (options.offline or is_offline())
    return None if may_be_old else _opened(found, options, decisions)


def find_source(options: TransferOptions, decisions: Decisions) -> Source:
    """The source model, fetched where that is needed.

    Raises
    ------
    ToolkitError
        As :func:`vocab.hub.resolve_model` and :func:`vocab.tokenizer.loading.load_tokenizer`.
    """
    from vocab.hub import is_offline

    return _opened(_resolved(options, offline=options.offline or is_offline()), options, decisions)


def _resolved(options: TransferOptions, *, offline: bool) -> ResolvedModel:
    from vocab.hub import resolve_model

    return resolve_model(
        options.src,
        revision=options.revision,
        cache_dir=options.cache_dir,
        offline=offline,
        trust_remote_code=options.trust_remote_code,
    )


def _opened(found: ResolvedModel, options: TransferOptions, decisions: Decisions) -> Source:
    from vocab.hub import DEMO
    from vocab.tokenizer.loading import load_tokenizer

    if found.name != options.src:
        decisions.add("source model", found.name, f"alias {options.src}")
    tokenizer = load_tokenizer(found.path, trust_remote_code=options.trust_remote_code)
    # of a local directory only the last part: the rest is the user's own and must not reach a model card
    name = found.path.resolve().name if found.is_local and found.name != DEMO else found.name
    return Source(found.path, name, found.revision_sha, tokenizer, Vocabulary.of(tokenizer))


def loaded_source(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Source:
    """A source from objects in memory: saved to a temporary directory that lives as long as the result."""
    from vocab.model_files.layout import quiet_transformers

    folder = tempfile.mkdtemp(prefix="vocab-transfer-source-")
    name = str(getattr(model.config, "name_or_path", "") or type(model).__name__)
    if Path(name).is_dir():
        name = Path(name).resolve().name
    source = Source(Path(folder), name, None, tokenizer, Vocabulary.of(tokenizer))
    weakref.finalize(source, shutil.rmtree, folder, ignore_errors=True)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return source
