from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import close_session, constants
from huggingface_hub.utils import validate_repo_id
from tokenizers import Tokenizer, models, pre_tokenizers

import vocab
from align.errors import InputError, OutputError, UnavailableError, UsageError
from tests.vocab.fake_hub import FakeHub
from vocab.hub import ALIASES, hub_cache, is_offline, resolve_model, resolve_tokenizer

_ROBERTA = "FacebookAI/roberta-base"


def _tokenizer_json() -> bytes:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *alphabet]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(pieces[:5])
    return tokenizer.to_str().encode()


def _repo_files(seed: int = 0) -> dict[str, bytes]:
    rows = np.random.default_rng(seed).standard_normal((261, 64), dtype=np.float32)
    weights = safetensors.numpy.save({"embeddings.word_embeddings.weight": rows})
    return {
        "config.json": json.dumps({"model_type": "roberta", "vocab_size": 261}).encode(),
        "tokenizer.json": _tokenizer_json(),
        "tokenizer_config.json": b'{"tokenizer_class": "RobertaTokenizer", "mask_token": "<mask>"}',
        "1_Pooling/config.json": b"{}",
        "README.md": b"# a model\n",
        "model.safetensors": weights,
    }


_NOT_WANTED = {
    "pytorch_model.bin": b"a pickle",
    "onnx/model.safetensors": b"x",
    "consolidated.safetensors": b"x",
    "model.fp16.safetensors": b"x",
    "flax_model.msgpack": b"x",
    "modeling_custom.py": b"raise SystemExit",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("VOCAB_TRANSFER_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
        server.add(_ROBERTA, _repo_files() | _NOT_WANTED)
        yield server
    close_session()


def _files(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def _local_model(path: Path, *, without: tuple[str, ...] = ()) -> Path:
    for name, data in _repo_files().items():
        if name not in without:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


def test_short_name_is_fetched_without_what_is_not_needed(hub: FakeHub, tmp_path: Path) -> None:
    found = resolve_model("roberta")
    assert (found.name, found.is_local) == (_ROBERTA, False)
    assert found.revision_sha == hub.repos[_ROBERTA].revisions["main"]
    assert found.path.is_relative_to(tmp_path / "hf" / "hub")
    assert _files(found.path) == sorted(_repo_files())
    for name, data in _repo_files().items():
        assert (found.path / name).read_bytes() == data
    for name in _NOT_WANTED:
        assert not any(request.path.endswith(name) for request in hub.requests)


def test_org_name_cache_dir_and_code(hub: FakeHub, tmp_path: Path) -> None:
    found = resolve_model(_ROBERTA, cache_dir=tmp_path / "mine", trust_remote_code=True)
    assert found.path.is_relative_to(tmp_path / "mine")
    assert _files(found.path) == sorted([*_repo_files(), "modeling_custom.py"])
    assert not (tmp_path / "hf" / "hub").exists()


def test_every_alias_is_an_org_name() -> None:
    for alias, repo in ALIASES.items():
        assert alias == alias.lower()
        validate_repo_id(repo)
        assert repo.count("/") == 1


@pytest.mark.parametrize("revision", [None, "v2", "refs/pr/3"])
def test_second_use_with_the_server_down(hub: FakeHub, revision: str | None) -> None:
    hub.add(_ROBERTA, _repo_files(2), revision="v2")
    hub.add(_ROBERTA, _repo_files(3), revision="refs/pr/3")
    first = resolve_model("roberta", revision=revision)
    hub.stop()
    assert resolve_model("roberta", revision=revision) == first
    assert resolve_model("roberta", revision=first.revision_sha) == first
    assert resolve_model("roberta", revision=revision, offline=True) == first
    with pytest.raises(UnavailableError, match="at revision v9 is not in the cache"):
        resolve_model("roberta", revision="v9")
    hub.start(hub.port)


def test_revisions(hub: FakeHub) -> None:
    commit = hub.add(_ROBERTA, _repo_files(2), revision="v2")
    main, v2 = resolve_model("roberta"), resolve_model("roberta", revision="v2")
    assert v2.revision_sha == commit != main.revision_sha
    assert resolve_model("roberta", revision=commit) == v2
    assert (v2.path / "model.safetensors").read_bytes() != (main.path / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="has no revision 'v9'"):
        resolve_model("roberta", revision="v9")


def test_offline_says_what_where_and_what_instead(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert is_offline()
    with pytest.raises(UnavailableError) as caught:
        resolve_model("roberta", revision="v2")
    message = str(caught.value)
    assert "\n" not in message
    assert f"{_ROBERTA} (roberta) at revision v2 is not in the cache {tmp_path / 'hf' / 'hub'}" in message
    assert "offline mode is on" in message
    assert f"`hf download {_ROBERTA} --revision v2 --local-dir roberta-base`" in message
    assert hub.requests == []
    # an argument goes before the environment
    assert resolve_model("roberta", offline=False).name == _ROBERTA


def test_nobody_answers(hub: FakeHub) -> None:
    hub.stop()
    with pytest.raises(
        UnavailableError, match=rf"not in the cache .*, and {hub.url} failed: ConnectError"
    ) as caught:
        resolve_model("robreta")
    assert "Perhaps roberta" in str(caught.value)
    hub.start(hub.port)


def test_a_line_that_breaks_leaves_the_cache(hub: FakeHub) -> None:
    first = resolve_model("roberta")
    hub.hang_up = True  # huggingface_hub passes this on, unlike a connection that is refused
    assert resolve_model("roberta") == first
    with pytest.raises(UnavailableError, match="RemoteProtocolError"):
        resolve_model("gpt2")


def test_server_in_trouble(hub: FakeHub) -> None:
    hub.statuses[f"/api/models/{_ROBERTA}"] = [500]
    hub.statuses[f"/api/models/{_ROBERTA}/revision/main"] = [500]
    with pytest.raises(UnavailableError, match=r"failed: HfHubHTTPError: .*500"):
        resolve_model("roberta")


def test_unknown_names(hub: FakeHub) -> None:
    with pytest.raises(InputError, match="no model FacebookAI/robreta-base at http://127") as caught:
        resolve_model("FacebookAI/robreta-base")
    assert "Perhaps FacebookAI/roberta-base" in str(caught.value)
    with pytest.raises(InputError, match="Known short names: demo, albert, bert"):
        resolve_model("zzzzzzzz")
    with pytest.raises(InputError, match="'two words' is neither a directory nor the name of a model"):
        resolve_model("two words")


def test_gated(hub: FakeHub) -> None:
    hub.add("meta-llama/Llama-3.2-1B", _repo_files(), gated=True)
    with pytest.raises(UnavailableError, match="no permission to fetch meta-llama") as caught:
        resolve_model("llama")
    assert f"{hub.url}/meta-llama/Llama-3.2-1B, then run `hf auth login` or set HF_TOKEN" in str(caught.value)


def test_not_logged_in(hub: FakeHub) -> None:
    hub.statuses[f"/api/models/{_ROBERTA}"] = [401]
    hub.statuses[f"/api/models/{_ROBERTA}/revision/main"] = [401]
    with pytest.raises(UnavailableError, match=r"no permission to fetch .* status 401"):
        resolve_model("roberta")


def _weights_path(hub: FakeHub) -> str:
    """Where the weights really lie, behind the redirection."""
    resolve_model("roberta", cache_dir=hub_cache() / "elsewhere")
    (path,) = (r.path for r in hub.gets() if r.path.startswith("/cdn/"))
    return path


def test_a_cut_fetch_is_resumed(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)  # it keeps whole chunks only, of 10 MiB
    weights = _repo_files()["model.safetensors"]
    path = _weights_path(hub)
    hub.requests.clear()
    hub.cuts[path] = [len(weights) // 2]
    found = resolve_model("roberta")
    assert (found.path / "model.safetensors").read_bytes() == weights
    # bytes are asked for that lie inside: what had arrived was used
    first, second = (request.range for request in hub.gets(path))
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= len(weights) // 2


def test_wrong_length(hub: FakeHub) -> None:
    hub.announce_more[_weights_path(hub)] = 3
    with pytest.raises(UnavailableError, match="Consistency check failed: file should be of size"):
        resolve_model("roberta")
    # nothing of it is taken for a model later
    with pytest.raises(UnavailableError, match="not in the cache"):
        resolve_model("roberta", offline=True)


def test_errors_of_the_client_that_are_no_os_errors(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    class NotAsExpected(Exception):
        pass

    def fail(*_: object, **__: object) -> None:
        raise NotAsExpected("chunk 3")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(NotAsExpected):  # a fault of this program has to be seen as one
        resolve_model("roberta")
    NotAsExpected.__module__ = "huggingface_hub.errors"
    with pytest.raises(UnavailableError, match=r"failed: NotAsExpected: chunk 3\. .*`hf download"):
        resolve_model("roberta")


def test_what_other_tools_fetched_without_a_readme_is_enough(hub: FakeHub) -> None:
    first = resolve_model("roberta")
    (first.path / "README.md").unlink()
    assert resolve_model("roberta", offline=True) == first
    (first.path / "model.safetensors").unlink()
    with pytest.raises(UnavailableError, match="not all of it"):
        resolve_model("roberta", offline=True)


def test_repository_without_safetensors(hub: FakeHub) -> None:
    files = _repo_files() | {"pytorch_model.bin": b"a pickle"}
    del files["model.safetensors"]
    hub.add("someone/old", files)
    with pytest.raises(InputError, match="someone/old: no safetensors weights") as caught:
        resolve_model("someone/old")
    assert "--revision refs/pr/N" in str(caught.value)
    assert hub.gets("pytorch_model.bin") == []


def test_cache_not_writable(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="the hub's cache cannot be written"):
        resolve_model("roberta", cache_dir=tmp_path / "file" / "cache")


def test_tokenizer_only(hub: FakeHub) -> None:
    found = resolve_tokenizer("roberta")
    assert found.name == _ROBERTA
    assert "tokenizer.json" in _files(found.path)
    assert "model.safetensors" not in _files(found.path)
    hub.stop()
    assert resolve_tokenizer("roberta") == found
    with pytest.raises(UnavailableError, match="not all of it"):
        resolve_model("roberta")
    hub.start(hub.port)


@pytest.mark.parametrize(
    ("variables", "cache"),
    [
        ({"HF_HUB_CACHE": "/a/b"}, "/a/b"),
        ({"HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HOME": "", "XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "$BASE/c", "BASE": "/base"}, "/base/c"),
        ({"HF_HOME": "", "HOME": "/root/me"}, "/root/me/.cache/huggingface/hub"),
    ],
)
def test_where_the_cache_is(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], cache: str
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hub_cache() == Path(cache)
    assert hub_cache("/given") == Path("/given")


def test_local_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _local_model(tmp_path / "mine")
    for asked in (path, str(path), f"{path}/"):
        found = resolve_model(asked)
        assert (found.path, found.name, found.revision_sha, found.is_local) == (path, str(asked), None, True)
    monkeypatch.chdir(tmp_path)
    assert resolve_model("mine").path == Path("mine")
    assert resolve_model("./mine").path == Path("mine")
    # a directory goes before a short name of the hub
    assert resolve_model(_local_model(tmp_path / "roberta").name).is_local
    with pytest.raises(UsageError, match="revision 'v2' of mine"):
        resolve_model("mine", revision="v2")


def test_local_directories_that_are_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such file or directory"):
        resolve_model(tmp_path / "gone")
    for asked in ("./gone", "../gone", "~/gone-and-lost", "gone/", "gone.json", "a/b/c"):
        with pytest.raises(InputError, match="no such file or directory"):
            resolve_model(asked)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"x")
    with pytest.raises(InputError, match="a file where a model's directory was expected"):
        resolve_model(file)
    with pytest.raises(InputError, match=r"no config\.json"):
        resolve_model(_local_model(tmp_path / "a", without=("config.json",)))
    pickled = _local_model(tmp_path / "b", without=("model.safetensors",))
    (pickled / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no safetensors weights \(got pytorch_model\.bin"):
        resolve_model(pickled)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roberta").mkdir()
    with pytest.raises(InputError, match=rf"no config\.json .*For the hub's model write {_ROBERTA}"):
        resolve_model("roberta")


def test_shards(tmp_path: Path) -> None:
    path = _local_model(tmp_path / "mine", without=("model.safetensors",))
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))
    (path / names[0]).write_bytes(b"x")
    with pytest.raises(InputError, match=f"shards of the weights are missing .got {names[1]} of 2 shards"):
        resolve_model(path)
    (path / names[1]).write_bytes(b"x")
    assert resolve_model(path).path == path
    index.write_text("[]")
    with pytest.raises(InputError, match="not an index of safetensors shards"):
        resolve_model(path)


def test_demo_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = _local_model(tmp_path / "inside")
    monkeypatch.setattr(vocab, "demo", types.SimpleNamespace(path=lambda: built_in), raising=False)
    monkeypatch.chdir(tmp_path)
    _local_model(tmp_path / "demo")
    found = resolve_model("demo")
    assert (found.path, found.name, found.is_local) == (built_in, "demo", True)
    assert resolve_model("./demo").path == Path("demo")
    assert resolve_tokenizer("demo").path == built_in
    with pytest.raises(UsageError, match="revision 'main' of demo"):
        resolve_model("demo", revision="main")


def test_tokenizer_by_path(tmp_path: Path) -> None:
    path = _local_model(tmp_path / "mine", without=("model.safetensors", "config.json"))
    assert resolve_tokenizer(path).path == path
    file = path / "tokenizer.json"
    assert resolve_tokenizer(str(file)).path == file
    with pytest.raises(UsageError):
        resolve_tokenizer(file, revision="v2")


def test_environment_of_a_fresh_process(hub: FakeHub, tmp_path: Path) -> None:
    """As a user has it: everything by environment variables, read by huggingface_hub at its import."""

    def run(call: str, **extra: str) -> subprocess.CompletedProcess[str]:
        script = f"from vocab.hub import *; print({call})"
        env = {**os.environ, "PYTHONPATH": str(Path(vocab.__file__).parents[1]), **extra}
        return subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=120
        )

    first = run("resolve_model('roberta').path")
    assert first.returncode == 0, first.stderr
    path = first.stdout.strip()
    assert Path(path).is_relative_to(tmp_path / "hf" / "hub")
    hub.requests.clear()
    assert run("resolve_model('roberta').path", HF_HUB_OFFLINE="1").stdout == first.stdout
    assert "UnavailableError" in run("resolve_model('bert')", HF_HUB_OFFLINE="1").stderr
    # loading what lies here asks nobody, network or not
    loaded = run(f"len(load_tokenizer({path!r}))")
    assert loaded.stdout == "261\n", loaded.stderr
    assert hub.requests == []
