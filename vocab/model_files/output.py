"""Write a finished model directory: everything a loader needs, checked by reloading it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align import place
from align.errors import InputError, UsageError
from align.place import put_in_place, temporary_sibling
from vocab.factorized.output import FACTORS, low_rank_changes, low_rank_notes, open_written, write_factors
from vocab.model_files.checkpoint import (
    DTYPES,
    Change,
    Checkpoint,
    open_checkpoint,
    rewrite_checkpoint,
    rewritten_bytes,
)
from vocab.model_files.layout import VocabLayout, find_vocabulary, match_checkpoint, model_class, read_config
from vocab.model_files.small_files import copy_small_files, file_digests, write_json
from vocab.model_files.special_ids import IdMap, new_config, new_generation_config
from vocab.model_files.surgery import has_own_head, position_changes, target_rows, vocabulary_changes
from vocab.model_files.verify import Verification, same_tokenizer, verify_directory
from vocab.plan import TransferPlan
from vocab.plan.files import FOLDER, HEAD_FOLDER
from vocab.tokens import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CARD = "README.md"
PROVENANCE = "transfer.json"


@dataclass(frozen=True, eq=False)
class PreparedModel:
    """Everything decided before the first byte is written; made by :func:`prepare_model`.

    ``tensors`` are the changed tensors with their old and new shapes, ``n_bytes`` the size of the output's
    weights, ``notes`` what a reader should know (ids without a counterpart, padding, shifted positions).
    """

    src_dir: Path
    plan: TransferPlan
    head_plan: TransferPlan | None
    layout: VocabLayout
    checkpoint: Checkpoint
    changes: Mapping[str, Change]
    n_rows: int
    dtype: str | None
    config: Mapping[str, Any]
    generation_config: Mapping[str, Any] | None
    notes: tuple[str, ...]
    n_bytes: int
    keep_factorized: bool = False

    @property
    def tensors(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """Old and new shape of every changed tensor."""
        return {
            name: (self.checkpoint.tensors[name].shape, change.shape) for name, change in self.changes.items()
        }


@dataclass(frozen=True)
class WrittenModel:
    """A model directory that was written and verified."""

    path: Path
    n_rows: int
    tensors: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    notes: tuple[str, ...]
    verification: Verification


def prepare_model(
    src_dir: str | Path,
    plan: TransferPlan,
    src_tokenizer: PreTrainedTokenizerFast,
    tgt_tokenizer: PreTrainedTokenizerFast,
    *,
    head_plan: TransferPlan | None = None,
    dtype: str | None = None,
    pad_to_multiple_of: int | None = None,
    rank: int | None = None,
    keep_factorized: bool = False,
    trust_remote_code: bool = False,
) -> PreparedModel:
    """Decide how a plan is applied to a model, without reading weights or writing anything.

    Parameters
    ----------
    src_dir : path
        Local model directory with safetensors weights.
    plan : TransferPlan
        From the source tokenizer's ids to the target tokenizer's.
    src_tokenizer, tgt_tokenizer : PreTrainedTokenizerFast
    head_plan : TransferPlan, optional
        For an untied output head and its biases; not used, with a note, where the embeddings are tied.
    dtype : {"float32", "float16", "bfloat16", "float64"}, optional
        Convert the checkpoint; by default every tensor keeps its dtype.
    pad_to_multiple_of : int, optional
        Round the number of rows up; by default there is one row a token, also where the source was padded.
    rank, keep_factorized
        Input embeddings of this rank, folded back to full size or not; see :mod:`vocab.factorized.output`.

    Raises
    ------
    InputError
        For a model, tokenizer or plan that do not fit each other, or a token the model needs and the target
        tokenizer lacks.
    UsageError
        For an unknown dtype or multiple.
    """
    src_dir = Path(src_dir)
    if dtype is not None and dtype not in DTYPES:
        raise UsageError("unknown dtype", got=dtype, wanted=", ".join(DTYPES))
    config = read_config(src_dir, trust_remote_code=trust_remote_code)
    layout = find_vocabulary(model_class(config, src_dir, trust_remote_code=trust_remote_code), config)
    checkpoint = open_checkpoint(src_dir)
    tensors = match_checkpoint(layout, checkpoint)
    ids = IdMap(Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer))
    for side, wanted, got in (
        (side, len(tokens), size)
        for one in (plan, head_plan)
        if one is not None
        for side, tokens, size in (("source", ids.source, one.n_src), ("target", ids.target, one.n_tgt))
    ):
        if wanted != got:
            raise InputError(f"the plan is for another {side} tokenizer", got=f"{got} tokens", wanted=wanted)
    n_rows = target_rows(plan, pad_to_multiple_of=pad_to_multiple_of)
    if head_plan is not None and not has_own_head(checkpoint, tensors):
        ids.notes.append("the head's plan was not used: it has no rows of its own")
        head_plan = None
    changes = vocabulary_changes(checkpoint, tensors, plan, n_rows=n_rows, head_plan=head_plan)
    if rank is not None:
        changes = low_rank_changes(
            checkpoint, tensors, changes, rank=rank, keep=keep_factorized, n_src=plan.n_src
        )
    new = new_config(src_dir, layout, ids, n_rows=n_rows)
    section = new[layout.config_path[0]] if layout.config_path else new
    shifted: dict[str, Change] = {}
    if layout.positions:
        new_pad = section.get("pad_token_id", layout.text_config.pad_token_id)
        shifted, fields = position_changes(checkpoint, layout, new_pad)
        section.update(fields)
        if shifted:
            moved = ", ".join(shifted)
            ids.notes.append(f"the padding id is now {new_pad}, so {moved} moved along with it")
    if dtype is not None:
        for part in (new, section):
            part.pop("torch_dtype", None)
            part["dtype"] = dtype
    generation = new_generation_config(src_dir, ids)
    n_padding = layout.vocab_size - plan.n_src
    if n_padding > 0 and n_rows == plan.n_tgt:
        ids.notes.append(f"the source's {n_padding} padding rows are left out")
    if n_rows > plan.n_tgt:
        ids.notes.append(f"{n_rows - plan.n_tgt} padding rows after the {plan.n_tgt} tokens")
    return PreparedModel(
        src_dir=src_dir,
        plan=plan,
        head_plan=head_plan,
        layout=layout,
        checkpoint=checkpoint,
        changes={**changes, **shifted},
        n_rows=n_rows,
        dtype=dtype,
        config=new,
        generation_config=generation,
        notes=tuple(dict.fromkeys(ids.notes)),
        n_bytes=rewritten_bytes(checkpoint, {**changes, **shifted}, dtype=dtype),
        keep_factorized=keep_factorized,
    )


def check_output(out_dir: str | Path, *, overwrite: bool, keep: Path | None = None) -> Path:
    """:func:`align.place.check_output` for a model directory."""
    marks = (PROVENANCE, "config.json")
    return place.check_output(out_dir, kind="model", marks=marks, overwrite=overwrite, keep=keep)


def write_model_directory(
    src_dir: str | Path,
    out_dir: str | Path,
    plan: TransferPlan,
    src_tokenizer: PreTrainedTokenizerFast,
    tgt_tokenizer: PreTrainedTokenizerFast,
    *,
    provenance: Mapping[str, Any],
    card: str,
    head_plan: TransferPlan | None = None,
    overwrite: bool = False,
    dtype: str | None = None,
    pad_to_multiple_of: int | None = None,
    rank: int | None = None,
    keep_factorized: bool = False,
    link: bool = False,
    probe_texts: Sequence[str] = (),
    device: str = "cpu",
    trust_remote_code: bool = False,
    confirm: Callable[[Path, int], object] | None = None,
) -> WrittenModel:
    """Apply a plan to a model directory and write the finished new one.

    The new directory is made under a temporary name (``.NAME.partial-...``) beside the final one, reloaded
    and checked there, and renamed. Killed at any moment, nothing half-done lies under the final name.

    Parameters
    ----------
    src_dir, plan, src_tokenizer, tgt_tokenizer, head_plan, dtype, trust_remote_code, pad_to_multiple_of, rank
    keep_factorized
        See :func:`prepare_model`.
    out_dir : path
        Must not exist, unless `overwrite`.
    provenance : mapping
        Contents of transfer.json, to which the changed tensors, notes and SHA-256 of all files are added.
    card : str
        README.md.
    overwrite : bool
        Replace a model directory; the old one is kept until the new one is in place.
    link : bool
        See :func:`vocab.model_files.checkpoint.rewrite_checkpoint`.
    probe_texts : sequence of str
        Texts in the target language for the check.
    device : str
        Where the check runs the model, ``cpu`` or ``cuda``.
    confirm : callable, optional
        Called with the checked directory and its number of rows before it is put in place; what it raises
        ends the writing, and nothing is left.

    Raises
    ------
    OutputError
        When the place is taken, not writable or too small, or the reloaded model fails its check.
    InputError, UsageError
        See :func:`prepare_model`.

    Notes
    -----
    Time is that of copying the files and loading the model once. Memory: the embedding matrix, three times in
    float32, then the loaded model where it fits.
    """
    out_dir = check_output(out_dir, overwrite=overwrite, keep=Path(src_dir))
    model = prepare_model(
        src_dir,
        plan,
        src_tokenizer,
        tgt_tokenizer,
        head_plan=head_plan,
        dtype=dtype,
        pad_to_multiple_of=pad_to_multiple_of,
        rank=rank,
        keep_factorized=keep_factorized,
        trust_remote_code=trust_remote_code,
    )
    with temporary_sibling(out_dir, n_bytes=model.n_bytes) as folder:
        digests = _write_files(model, folder, tgt_tokenizer, link=link, trust_remote_code=trust_remote_code)
        (folder / CARD).write_text(card, encoding="utf-8")
        model = replace(model, notes=(*model.notes, *low_rank_notes(model.changes)))
        verification = verify_directory(
            folder,
            tgt_tokenizer,
            model.layout,
            digests,
            n_rows=model.n_rows,
            texts=probe_texts,
            device=device,
            trust_remote_code=trust_remote_code,
            weights=folder / FACTORS if keep_factorized else None,
            open_model=open_written if keep_factorized else None,
        )
        _write_provenance(folder, provenance, model, verification)
        if confirm is not None:
            confirm(folder, model.n_rows)
        put_in_place(folder, out_dir, overwrite=overwrite)
    return WrittenModel(out_dir, model.n_rows, model.tensors, model.notes, verification)


def _write_files(
    model: PreparedModel,
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    *,
    link: bool,
    trust_remote_code: bool,
) -> dict[str, str]:
    weights = folder / FACTORS if model.keep_factorized else folder
    weights.mkdir(exist_ok=True)
    digests = rewrite_checkpoint(model.checkpoint, weights, model.changes, dtype=model.dtype, link=link)
    has_code = getattr(model.layout.config, "auto_map", None) is not None
    copy_small_files(model.src_dir, folder, with_code=has_code, link=link)
    config = write_factors(weights, model.changes, model.config) if model.keep_factorized else model.config
    write_json(folder / "config.json", config)
    if model.generation_config is not None:
        write_json(folder / "generation_config.json", model.generation_config)
    _save_tokenizer(folder, tokenizer, trust_remote_code=trust_remote_code)
    model.plan.save(folder / FOLDER)
    if model.head_plan is not None:
        model.head_plan.save(folder / HEAD_FOLDER)
    return digests


def _save_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerFast, *, trust_remote_code: bool) -> None:
    """Save the tokenizer under a class name with which AutoTokenizer gives the same one back.

    Some classes of transformers 5 build their tokenizer anew from class defaults instead of tokenizer.json;
    the generic class does not. Its old name is used, which transformers 4 and 5 both know.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    generic = config.get("tokenizer_class") in (None, "TokenizersBackend")
    if generic or not same_tokenizer(folder, tokenizer, trust_remote_code=trust_remote_code):
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        write_json(path, config)


def _write_provenance(
    folder: Path, provenance: Mapping[str, Any], model: PreparedModel, verification: Verification
) -> None:
    applied = {
        "architecture": model.layout.model_class.__name__,
        "rows": model.n_rows,
        "tokens": model.plan.n_tgt,
        "dtype": model.dtype or "as in the source",
        "tensors": {name: {"from": old, "to": new} for name, (old, new) in model.tensors.items()},
        "notes": list(model.notes),
        "verification": asdict(verification),
    }
    write_json(folder / PROVENANCE, {**provenance, "applied": applied, "sha256": file_digests(folder)})
