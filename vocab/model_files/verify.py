"""Check a finished model directory by reloading it, before anybody else can."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.errors import OutputError
from align.memory import available_bytes
from vocab.model_files.checkpoint import Checkpoint, open_checkpoint, tensor_bytes
from vocab.model_files.layout import VocabLayout, quiet_transformers
from vocab.tokens.roles import NAMED_ROLES

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PROBES = (
    "Habari za asubuhi, dunia!",
    "It's 12,345.67 € — naïve.",
    "中文 हिन्दी 😀",
    " two  spaces\n\ta tab ",
)
_MAX_TOKENS = 32
# classes that read tokenizer.json as it is
_NEUTRAL_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")


@dataclass(frozen=True)
class Verification:
    """What was checked. ``forward`` is ``"passed"``, or why the model was not run.

    ``round_trip`` is the share of the probe texts that decode to themselves, up to white space; what falls
    short of 1 is the tokenizer's own loss (case, unknown characters) and not an error.
    """

    n_rows: int
    n_tensors: int
    n_texts: int
    round_trip: float
    forward: str


def verify_directory(
    folder: str | Path,
    tokenizer: PreTrainedTokenizerFast,
    layout: VocabLayout,
    digests: Mapping[str, str],
    *,
    n_rows: int,
    texts: Sequence[str] = (),
    device: str = "cpu",
    trust_remote_code: bool = False,
    weights: Path | None = None,
    open_model: Callable[[Path], PreTrainedModel] | None = None,
) -> Verification:
    """Reload tokenizer and model from `folder` and compare them with what was to be written.

    Parameters
    ----------
    folder : path
        Model directory, perhaps under a temporary name.
    tokenizer : PreTrainedTokenizerFast
        The tokenizer that was saved.
    layout : VocabLayout
        Of the source model.
    digests : mapping of str to str
        SHA-256 of every changed tensor, by the checkpoint's names.
    n_rows : int
        Rows of the new matrices.
    texts : sequence of str
        Probe texts besides the built-in ones.
    device : str
        Where the forward pass runs, ``cpu`` or ``cuda``.
    weights : Path, optional
        Where the checkpoint lies, if not in `folder`.
    open_model : callable, optional
        Opens what AutoModel does not, from `folder`.

    Raises
    ------
    OutputError
        For the first check that fails.

    Notes
    -----
    Loads the model once, if it fits into the memory that is free; otherwise all checks that need no model
    are made and ``forward`` says why it was not run.
    """
    folder = Path(folder)
    probes = [*PROBES, *texts]
    reloaded = check_tokenizer(folder, tokenizer, probes, trust_remote_code=trust_remote_code)
    checkpoint = open_checkpoint(weights or folder)
    for name, digest in digests.items():
        if hashlib.sha256(tensor_bytes(checkpoint.read(name))).hexdigest() != digest:
            raise _failed("a tensor reads back with other values than were written", folder, where=name)
    size = max(reloaded.get_vocab().values()) + 1
    if size > n_rows:
        raise _failed("token ids beyond the embedding rows", folder, got=size, wanted=f"at most {n_rows}")
    forward = reason_not_to_load(checkpoint, layout)
    if not forward:
        if open_model is not None:
            model = open_model(folder)
        else:
            model = _check_loading(folder, layout, checkpoint, digests, trust_remote_code=trust_remote_code)
        check_forward(model, reloaded, probes, folder, n_rows=n_rows, device=device)
        forward = "passed"
    return Verification(n_rows, len(digests), len(probes), round_trip(reloaded, probes), forward)


def _failed(
    what: str, folder: Path, *, got: object = None, wanted: object = None, where: str = ""
) -> OutputError:
    return OutputError(
        f"the written model failed its check: {what}",
        got=got,
        wanted=wanted,
        where=where or None,
        hint="nothing was put in place; please report this with the source model's name",
    )


def check_tokenizer(
    folder: Path, tokenizer: PreTrainedTokenizerFast, probes: Sequence[str], *, trust_remote_code: bool
) -> PreTrainedTokenizerFast:
    """Reload the tokenizer and compare it with the one that was saved."""
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            reloaded: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except Exception as error:
        raise _failed(f"AutoTokenizer cannot read it: {error!r}", folder) from error
    for what, got, wanted in (
        ("vocabulary", reloaded.get_vocab(), tokenizer.get_vocab()),
        ("special tokens", _roles(reloaded), _roles(tokenizer)),
        (
            "ids of a text",
            [reloaded(text).input_ids for text in probes],
            [tokenizer(text).input_ids for text in probes],
        ),
    ):
        if got != wanted:
            reader = type(reloaded).__name__
            if reader not in _NEUTRAL_CLASSES:  # one that transformers insists on for the model's type
                raise OutputError(
                    f"AutoTokenizer reads a tokenizer of such a model as {reader}, which changes its {what}",
                    hint="nothing was put in place; take a tokenizer of the model's own kind, "
                    "or a source of another architecture",
                )
            raise _failed(f"AutoTokenizer gives another {what} than the tokenizer that was saved", folder)
    return reloaded


def same_tokenizer(
    folder: Path, tokenizer: PreTrainedTokenizerFast, *, trust_remote_code: bool = False
) -> bool:
    """Whether AutoTokenizer reads from `folder` the tokenizer that was saved there."""
    try:
        check_tokenizer(folder, tokenizer, PROBES, trust_remote_code=trust_remote_code)
    except OutputError:
        return False
    return True


def _roles(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {role: getattr(tokenizer, f"{role}_token_id", None) for role in NAMED_ROLES}


def round_trip(tokenizer: PreTrainedTokenizerFast, probes: Sequence[str]) -> float:
    """Share of the texts that decode to themselves, up to white space."""
    decoded = [str(tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids)) for text in probes]
    return sum(
        "".join(text.split()) == "".join(back.split()) for text, back in zip(probes, decoded, strict=True)
    ) / len(probes)


def reason_not_to_load(checkpoint: Checkpoint, layout: VocabLayout) -> str:
    """Why the model is not run; empty if it can be."""
    if getattr(layout.config, "quantization_config", None) is not None:
        return "not run: the other weights are quantised"
    # the forward pass is in float32, next to the weights in their own dtype
    needed = sum(max(info.stop - info.start, 4 * info.n_values) for info in checkpoint.tensors.values()) * 1.5
    free = available_bytes()
    if free is not None and needed > free:
        return f"not run: it needs about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
    return ""


def _check_loading(
    folder: Path,
    layout: VocabLayout,
    checkpoint: Checkpoint,
    digests: Mapping[str, str],
    *,
    trust_remote_code: bool,
) -> PreTrainedModel:
    import torch

    kwargs: dict[str, Any] = {"local_files_only": True, "dtype": "auto", "output_loading_info": True}
    if trust_remote_code:
        kwargs["trust_remote_code"] = True
    try:
        with quiet_transformers():
            loaded: Any = layout.model_class.from_pretrained(folder, **kwargs)
    except Exception as error:
        raise _failed(f"from_pretrained raises {error!r}", folder) from error
    model, info = loaded
    if info["mismatched_keys"]:
        raise _failed(
            "shapes disagree with config.json", folder, got=sorted(map(str, info["mismatched_keys"]))[:3]
        )
    # what is missing was missing in the source too; without its embeddings no model works, though
    sources = _vocabulary_sources(layout, checkpoint)
    inputs = {tensor.name for tensor in layout.tensors if tensor.role == "input"}
    lost = sorted(set(info["missing_keys"]) & (inputs | set(sources)))
    if lost:
        raise _failed("tensors of the vocabulary were not loaded", folder, got=", ".join(lost))
    state = model.state_dict()
    for name, key in sources.items():
        written = checkpoint.read(key)
        if key in digests and not torch.equal(state[name], written.to(state[name].dtype)):
            raise _failed("the loaded model has other values than the file", folder, where=name)
    return model


def _vocabulary_sources(layout: VocabLayout, checkpoint: Checkpoint) -> dict[str, str]:
    prefix = f"{layout.model_class.base_model_prefix}."
    sources = {}
    for tensor in layout.tensors:
        for key in (tensor.name, tensor.name.removeprefix(prefix), prefix + tensor.name):
            if key in checkpoint.tensors:
                sources[tensor.name] = key
                break
    return sources


def check_forward(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    probes: Sequence[str],
    folder: Path,
    *,
    n_rows: int,
    device: str,
) -> None:
    """One short pass: shapes fit, values are finite."""
    import torch

    model = model.eval().float().to(device)
    config = model.config.get_text_config()
    has_head = model.get_output_embeddings() is not None
    # one short pass is enough to meet a wrong shape or a value that is not finite
    ids = [i for text in reversed(probes) for i in tokenizer(text).input_ids][:_MAX_TOKENS] or [0]
    inputs: dict[str, torch.Tensor] = {"input_ids": torch.tensor([ids], device=device)}
    if model.config.is_encoder_decoder:
        keys = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
        values = (getattr(config, key, None) for key in keys)
        start = next((value for value in values if isinstance(value, int)), ids[0])
        inputs["decoder_input_ids"] = torch.tensor([[start]], device=device)
    try:
        with torch.inference_mode():
            output = model(**inputs)
    except Exception as error:
        raise _failed(f"a forward pass raises {error!r}", folder) from error
    if not torch.isfinite(output[0]).all():
        raise _failed("a forward pass gives NaN or infinite values", folder)
    if has_head and "logits" in output and output["logits"].shape[-1] != n_rows:
        raise _failed("logits of another size", folder, got=output["logits"].shape[-1], wanted=n_rows)
