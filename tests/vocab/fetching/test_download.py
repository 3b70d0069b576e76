"""Faults on the way of a file: each is survived or refused with one line, and the cache is never poisoned."""

from __future__ import annotations

import email.utils
import errno
import gzip
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import pytest

import vocab.fetching.archives
from align.errors import InputError, OutputError, ToolkitError, UnavailableError, UsageError
from tests.vocab.fake_hub import FakeHub, serving
from vocab.fetching import web
from vocab.fetching.archives import check_zip
from vocab.fetching.cache import read_record
from vocab.fetching.download import download

_DATA = os.urandom(300_000)
_PATH = "/data/words.bin"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with serving(monkeypatch, tmp_path / "cache") as hub:
        hub.files[_PATH] = _DATA
        yield hub


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "kind" / "words.bin"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, or would have been."""
    waited: list[float] = []
    monkeypatch.setattr(web.time, "sleep", waited.append)
    return waited


def _fetch(server: FakeHub, target: Path, **options: Any) -> Path:
    return download(server.url + _PATH, target, retry_wait_s=0, **options)


def _left(target: Path) -> list[str]:
    """Names beside the target, but for its lock."""
    if not target.parent.is_dir():
        return []
    return sorted(p.name for p in target.parent.iterdir() if p.name != f".{target.name}.lock")


def _is_one_line(error: ToolkitError) -> bool:
    return "\n" not in str(error) and len(str(error)) < 400


def test_fetched_once_and_recorded(server: FakeHub, target: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    assert _fetch(server, target, progress=lambda *step: steps.append(step)).read_bytes() == _DATA
    assert _left(target) == ["words.bin", "words.bin.record.json"]
    assert steps[0][0] == "fetch words.bin"
    assert ("fetch words.bin", len(_DATA), len(_DATA)) in steps
    assert {step for step, _, _ in steps} == {"fetch words.bin", "check words.bin"}
    record = read_record(target)
    assert record is not None
    assert (record.url, record.size_bytes) == (server.url + _PATH, len(_DATA))
    assert len(record.sha256) == 64
    n_requests = len(server.requests)
    assert _fetch(server, target) == target
    assert _fetch(server, target, offline=True) == target
    assert len(server.requests) == n_requests


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_goes_on_after_a_drop(server: FakeHub, target: Path, share: float) -> None:
    n_first = int(share * len(_DATA))
    server.cuts[_PATH] = [n_first]
    assert _fetch(server, target).read_bytes() == _DATA
    assert [r.range for r in server.gets()] == [None, f"bytes={n_first}-"]


@pytest.mark.parametrize("tag", ["etag", "time"])
def test_goes_on_in_a_later_run(server: FakeHub, target: Path, tag: str) -> None:
    if tag == "time":
        server.with_etag = False
        server.last_modified[_PATH] = "Wed, 01 Jan 2025 00:00:00 GMT"
    server.cuts[_PATH] = [100_000, 0, 0, 0]
    with pytest.raises(
        UnavailableError, match="100,000 bytes are kept, the same command continues"
    ) as caught:
        _fetch(server, target)
    assert _is_one_line(caught.value)
    assert _left(target) == ["words.bin.part", "words.bin.part.json"]
    server.requests.clear()
    assert _fetch(server, target).read_bytes() == _DATA
    assert [r.range for r in server.gets()] == ["bytes=100000-"]
    assert _left(target) == ["words.bin", "words.bin.record.json"]


@pytest.mark.parametrize("fault", ["etag", "no tag", "weak tag", "same length", "deaf to If-Range"])
def test_a_changed_file_is_not_patched_together(server: FakeHub, target: Path, fault: str) -> None:
    server.with_etag = fault != "no tag"
    server.weak_etag = fault == "weak tag"
    server.heeds_if_range = fault != "deaf to If-Range"
    server.cuts[_PATH] = [80_000] * 4 if fault in ("no tag", "weak tag") else [80_000, 0, 0, 0]
    with pytest.raises(UnavailableError):
        _fetch(server, target)
    assert target.with_name("words.bin.part").stat().st_size == 80_000
    if fault in ("no tag", "weak tag"):  # a part of it cannot be asked for
        assert {r.range for r in server.gets()} == {None}
    changed = os.urandom(len(_DATA) if fault == "same length" else 200_000)
    server.files[_PATH] = changed
    assert _fetch(server, target).read_bytes() == changed


def test_another_address_for_the_same_place(server: FakeHub, target: Path) -> None:
    server.files["/other"] = os.urandom(len(_DATA))
    server.cuts[_PATH] = [80_000, 0, 0, 0]
    with pytest.raises(UnavailableError):
        _fetch(server, target)
    found = download(server.url + "/other", target)
    assert found.read_bytes() == server.files["/other"]


def test_more_on_disk_than_the_server_has(server: FakeHub, target: Path) -> None:
    server.cuts[_PATH] = [100, 0, 0, 0]
    with pytest.raises(UnavailableError):
        _fetch(server, target)
    part = target.with_name("words.bin.part")
    part.write_bytes(bytes(len(_DATA) + 10))
    server.requests.clear()
    assert _fetch(server, target).read_bytes() == _DATA
    assert [r.range for r in server.gets()] == [f"bytes={len(_DATA) + 10}-", None]  # 416, then from the start


@pytest.mark.parametrize("n_more", [7, -7])
def test_wrong_length(server: FakeHub, target: Path, n_more: int) -> None:
    wanted = len(_DATA) + n_more
    with pytest.raises(
        UnavailableError, match=f"{len(_DATA):,} bytes, and {wanted:,} were announced"
    ) as caught:
        _fetch(server, target, size_bytes=wanted)
    assert _is_one_line(caught.value)
    assert _left(target) == []


def test_a_length_that_is_not_told(server: FakeHub, target: Path) -> None:
    server.lengthless[_PATH] = True
    server.cuts[_PATH] = [100_000]
    assert _fetch(server, target).read_bytes() == _DATA
    server.cuts[_PATH] = [100_000, 0, 0, 0]
    with pytest.raises(UnavailableError, match="the connection ended early"):
        _fetch(server, target.with_name("third"))
    server.lengthless[_PATH] = False
    second = target.with_name("second")
    with pytest.raises(UnavailableError, match="does not say how long it is"):
        _fetch(server, second)
    for n_more in (-7, 7):
        with pytest.raises(UnavailableError, match="could not be fetched"):
            _fetch(server, second, size_bytes=len(_DATA) + n_more)
        assert not second.exists()
    server.cuts[_PATH] = [100_000]
    assert _fetch(server, second, size_bytes=len(_DATA)).read_bytes() == _DATA


def test_a_page_in_place_of_the_rest(server: FakeHub, target: Path) -> None:
    server.cuts[_PATH] = [100_000, 0, 0, 0]
    with pytest.raises(UnavailableError):
        _fetch(server, target, size_bytes=len(_DATA))
    server.files[_PATH] = b"<html>please log in</html>"
    with pytest.raises(UnavailableError, match="26 bytes, and 300,000 were announced"):
        _fetch(server, target, size_bytes=len(_DATA))
    server.files[_PATH] = _DATA
    server.requests.clear()
    assert _fetch(server, target, size_bytes=len(_DATA)).read_bytes() == _DATA
    assert [r.range for r in server.gets()] == ["bytes=100000-"]


def test_a_length_that_is_never_reached(server: FakeHub, target: Path) -> None:
    server.overstated[_PATH] = 7
    with pytest.raises(UnavailableError, match="could not be fetched"):
        _fetch(server, target, timeout_s=0.2)
    assert not target.exists()
    server.overstated.clear()
    assert _fetch(server, target).read_bytes() == _DATA


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds(server: FakeHub, target: Path, pauses: list[float], status: int) -> None:
    server.statuses[_PATH] = [status]
    server.retry_after = "17"
    assert _fetch(server, target).read_bytes() == _DATA
    assert pauses == [17.0]


def test_retry_after_as_a_date(server: FakeHub, target: Path, pauses: list[float]) -> None:
    server.statuses[_PATH] = [503, 503]
    server.retry_after = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert _fetch(server, target).read_bytes() == _DATA
    assert all(25 < pause <= 30 for pause in pauses)
    assert len(pauses) == 2


def test_a_server_that_wants_hours_is_left_alone(server: FakeHub, target: Path, pauses: list[float]) -> None:
    server.statuses[_PATH] = [429] * 9
    server.retry_after = "7200"
    with pytest.raises(UnavailableError, match=r"status 429, come back in 7,200 s") as caught:
        _fetch(server, target)
    assert _is_one_line(caught.value)
    assert pauses == []
    assert len(server.gets()) == 1


def test_waits_longer_each_time(server: FakeHub, target: Path, pauses: list[float]) -> None:
    server.statuses[_PATH] = [503] * 9
    said: list[str] = []
    with pytest.raises(UnavailableError, match="status 503"):
        download(server.url + _PATH, target, retry_wait_s=8, notice=said.append)
    assert len(server.gets()) == web.N_TRIES
    for pause, whole, line in zip(pauses, (8, 16, 32), said, strict=True):
        assert whole / 2 <= pause < whole
        assert line == f"status 503; trying again in {pause:.0f} s"


def test_what_is_forbidden_is_not_asked_again(server: FakeHub, target: Path) -> None:
    server.statuses[_PATH] = [403] * 9
    with pytest.raises(UnavailableError, match="status 403"):
        _fetch(server, target)
    assert len(server.gets()) == 1


def test_stalled_connection(server: FakeHub, target: Path) -> None:
    server.stalls[_PATH] = [120_000]
    begin = time.perf_counter()
    assert _fetch(server, target, timeout_s=0.2).read_bytes() == _DATA
    assert time.perf_counter() - begin < 5
    assert [r.range for r in server.gets()] == [None, "bytes=120000-"]


def test_redirect_to_another_host(server: FakeHub, target: Path) -> None:
    server.redirects["/moved"] = f"http://localhost:{server.port}{_PATH}"
    server.cuts[_PATH] = [100_000]
    found = download(server.url + "/moved", target, retry_wait_s=0)
    assert found.read_bytes() == _DATA
    assert server.gets()[-1].range == "bytes=100000-"


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_redirect_out_of_the_web(server: FakeHub, target: Path, place: str) -> None:
    server.redirects["/moved"] = place
    with pytest.raises(UnavailableError, match="could not be fetched"):
        download(server.url + "/moved", target, retry_wait_s=0)
    assert _left(target) == []


def test_redirect_from_https_to_http() -> None:
    asked = urllib.request.Request("https://a.example/x")
    redirects = web._Redirects()
    found = redirects.redirect_request(asked, None, 302, "", HTTPMessage(), "https://b.example/x")  # type: ignore[arg-type]
    assert found is not None
    with pytest.raises(web.Refused, match="which is not https"):
        redirects.redirect_request(asked, None, 302, "", HTTPMessage(), "http://a.example/x")  # type: ignore[arg-type]


def test_a_certificate_that_is_not_trusted(
    server: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(*_: object, **__: object) -> None:
        asked.append(1)
        reason = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
        raise urllib.error.URLError(reason)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    with pytest.raises(UnavailableError, match="not trusted: certificate verify failed") as caught:
        download("https://127.0.0.1/x", target, offline=False)
    assert _is_one_line(caught.value)
    assert len(asked) == 1


def test_through_a_proxy(server: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    found = download(f"http://does-not-exist.invalid{_PATH}", target, retry_wait_s=0)
    assert found.read_bytes() == _DATA
    assert server.gets()[0].was_proxied
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    _fetch(server, target.with_name("other"))
    assert not server.gets()[-1].was_proxied


@pytest.mark.parametrize("url", ["words.bin", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://[::1/x"])
def test_not_an_address(url: str, target: Path) -> None:
    with pytest.raises(UsageError, match="not an address"):
        download(url, target, offline=False)


@pytest.mark.parametrize("name", ["VOCAB_TRANSFER_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(server: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(UnavailableError, match="offline mode is on") as caught:
        _fetch(server, target)
    assert f"fetch {server.url}{_PATH} and put it at {target}" in str(caught.value)
    assert server.requests == []
    assert not target.parent.exists()


def test_no_server(server: FakeHub, target: Path) -> None:
    server.stop()
    with pytest.raises(UnavailableError, match="Connection refused") as caught:
        _fetch(server, target)
    assert _is_one_line(caught.value)
    server.start()


def test_an_altered_file_is_fetched_again(server: FakeHub, target: Path) -> None:
    _fetch(server, target)
    os.utime(target, ns=(0, 0))  # a copy of the cache: read whole once, then trusted again
    assert _fetch(server, target, offline=True) == target
    record = read_record(target)
    assert record is not None
    assert record.mtime_ns == 0
    target.write_bytes(bytes(len(_DATA)))
    with pytest.raises(UnavailableError, match="is not what was fetched"):
        _fetch(server, target, offline=True)
    said: list[str] = []
    assert _fetch(server, target, notice=said.append).read_bytes() == _DATA
    assert len(said) == 1
    assert "fetching it again" in said[0]
    mtime_ns = target.stat().st_mtime_ns
    target.write_bytes(_DATA[:-1])
    os.utime(target, ns=(mtime_ns, mtime_ns))
    with pytest.raises(UnavailableError, match="is not what was fetched"):
        _fetch(server, target, offline=True)


def test_interrupted_between_the_move_and_the_record(
    server: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def interrupt(old: Path, new: Path) -> None:
        replace(old, new)
        if new == target:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _fetch(server, target)
    assert read_record(target) is not None
    assert _fetch(server, target, offline=True).read_bytes() == _DATA


def test_put_there_by_hand(server: FakeHub, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    assert _fetch(server, target).read_bytes() == b"mine"
    assert server.requests == []


# archives that arrive


@pytest.mark.parametrize("damage", ["cut", "flipped", "html", "bomb"])
def test_damaged_gzip(server: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    whole = bytearray(gzip.compress(_DATA))
    if damage == "cut":
        del whole[-30:]
    elif damage == "flipped":
        whole[-6] ^= 0xFF
    elif damage == "html":
        whole = bytearray(b"<html>please log in</html>")
    else:
        monkeypatch.setattr(vocab.fetching.archives, "ALWAYS_ALLOWED_BYTES", 1 << 20)
        whole = bytearray(gzip.compress(bytes(50 << 20)))
    server.files[_PATH] = bytes(whole)
    with pytest.raises(UnavailableError, match="arrived, and is refused") as caught:
        _fetch(server, target, gunzip=True)
    assert _is_one_line(caught.value)
    assert _left(target) == []
    server.files[_PATH] = gzip.compress(_DATA)
    assert _fetch(server, target, gunzip=True).read_bytes() == _DATA
    assert _left(target) == ["words.bin", "words.bin.record.json"]


def test_unpacked_where_both_forms_do_not_fit(
    server: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"".join(os.urandom(50) + bytes(60) for _ in range(10_000))
    server.files[_PATH] = gzip.compress(text)
    n_packed = len(server.files[_PATH])
    n_room = len(text) + 150_000
    monkeypatch.setattr(vocab.fetching.archives, "_PIECE", 100_000)
    most = 0

    def usage(folder: Path) -> Any:
        used = sum(p.stat().st_size for p in target.parent.iterdir())
        return shutil._ntuple_diskusage(n_room, used, n_room - used)  # type: ignore[attr-defined]

    def watch(*_: object) -> None:
        nonlocal most
        most = max(most, n_room - usage(target).free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert _fetch(server, target, gunzip=True, progress=watch).read_bytes() == text
    assert _left(target) == ["words.bin", "words.bin.record.json"]
    assert most < n_room < len(text) + n_packed
    n_room = len(text) - 1
    with pytest.raises(OutputError, match="no room"):
        _fetch(server, target.with_name("second"), gunzip=True)


def test_damaged_zip(server: FakeHub, target: Path, tmp_path: Path) -> None:
    path = tmp_path / "good.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.en", os.urandom(5000))
    good = path.read_bytes()
    server.files[_PATH] = good[:2000] + bytes(50) + good[2050:]
    with pytest.raises(UnavailableError, match="is refused: a damaged zip") as caught:
        _fetch(server, target, check=check_zip)
    assert _is_one_line(caught.value)
    assert _left(target) == []
    server.files[_PATH] = good
    assert _fetch(server, target, check=check_zip).read_bytes() == good


def test_a_check_of_the_caller_comes_first(server: FakeHub, target: Path) -> None:
    def never(path: Path) -> None:
        assert path.read_bytes() == _DATA
        raise InputError("not a model")

    with pytest.raises(UnavailableError, match="is refused: not a model"):
        _fetch(server, target, check=never)
    assert _left(target) == []


# the disk


def test_no_room_is_known_before(server: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="no room for words") as caught:
        _fetch(server, target)
    assert _is_one_line(caught.value)
    assert _left(target) == []


def test_the_disk_fills_up_meanwhile(server: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        _fetch(server, target)
    assert _is_one_line(caught.value)
    assert _left(target) == ["words.bin.part", "words.bin.part.json"]
    monkeypatch.undo()
    monkeypatch.delenv("VOCAB_TRANSFER_OFFLINE", raising=False)
    server.requests.clear()
    assert _fetch(server, target).read_bytes() == _DATA
    assert server.requests == []  # all of it was there


@pytest.mark.parametrize("url", [_PATH, "/other"])
def test_a_whole_part_of_another_file(
    server: FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vocab.fetching.cache.os.fsync", lambda _: os.write(-1, b""))  # fails
        with pytest.raises(OutputError):
            _fetch(server, target)
    assert target.with_name("words.bin.part").stat().st_size == len(_DATA)
    server.files[url] = os.urandom(200_000)
    size = 200_000 if url == _PATH else None
    assert download(server.url + url, target, size_bytes=size).read_bytes() == server.files[url]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with 200 kB of room, or a skip."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    mount = shutil.which("mount")
    if mount is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("gunzip", [False, True])
def test_a_full_disk(
    server: FakeHub, small_disk: Path, monkeypatch: pytest.MonkeyPatch, gunzip: bool
) -> None:
    if gunzip:
        server.files[_PATH] = gzip.compress(bytes(60_000) + _DATA[:150_000])
    place = small_disk / "words.bin"
    usage = shutil._ntuple_diskusage(10**9, 0, 10**9)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)  # there was room when it began
    with pytest.raises(OutputError, match="No space left on device") as caught:
        _fetch(server, place, gunzip=gunzip)
    assert _is_one_line(caught.value)
    assert not place.exists()
    assert _left(place) == ["words.bin.part", "words.bin.part.json"]
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    found = _fetch(server, place, gunzip=gunzip).read_bytes()
    assert found == (gzip.decompress(server.files[_PATH]) if gunzip else _DATA)


# other processes

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(server: FakeHub, target: Path) -> Iterator[Start]:
    """Start a process that fetches; it says what it is told, and how far it is."""
    code = textwrap.dedent(
        """
        import sys
        from vocab.fetching.download import download
        def say(*words): print(*words, flush=True)
        download(sys.argv[1], sys.argv[2], progress=say, notice=say)
        say("done")
        """
    )
    started: list[subprocess.Popen[str]] = []

    def run() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, server.url + _PATH, str(target)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def _await(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return
    raise AssertionError(f"{beginning!r} was never said")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_and_continued(server: FakeHub, target: Path, start: Start, sent: signal.Signals) -> None:
    server.files[_PATH] = os.urandom(2_000_000)
    server.stalls[_PATH] = [1_000_000]
    process = start()
    _await(process, "fetch words.bin 1000000 ")
    process.send_signal(sent)
    assert process.wait(timeout=30) != 0
    assert _left(target) == ["words.bin.part", "words.bin.part.json"]
    n_kept = target.with_name("words.bin.part").stat().st_size
    assert n_kept == 1_000_000 if sent == signal.SIGINT else n_kept > 0
    server.requests.clear()
    assert _fetch(server, target).read_bytes() == server.files[_PATH]
    assert [r.range for r in server.gets()] == [f"bytes={n_kept}-"]
    assert _left(target) == ["words.bin", "words.bin.record.json"]


def test_two_runs_at_once(server: FakeHub, target: Path, start: Start) -> None:
    server.files[_PATH] = os.urandom(2_000_000)
    server.stalls[_PATH] = [1_000_000]
    first = start()
    _await(first, "fetch words.bin")
    second = start()
    _await(second, "another run is fetching words.bin; waiting for it")
    server.go_on.set()
    for process in (first, second):
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert out.endswith("done\n")
    assert target.read_bytes() == server.files[_PATH]
    assert len(server.gets()) == 1


def test_killed_while_it_unpacked(server: FakeHub, target: Path) -> None:
    server.files[_PATH] = gzip.compress(_DATA)
    target.parent.mkdir(parents=True)
    for name in ("words.bin.tmp", "words.bin.part.0.tmp", "words.bin.part.1.tmp"):
        target.with_name(name).write_bytes(b"left by a run that was killed")
    assert _fetch(server, target, gunzip=True).read_bytes() == _DATA
    assert _left(target) == ["words.bin", "words.bin.record.json"]


def test_a_killed_run_leaves_no_lock(server: FakeHub, target: Path, start: Start) -> None:
    server.stalls[_PATH] = [100]
    process = start()
    while not server.gets():
        time.sleep(0.01)
    process.kill()
    process.wait(timeout=30)
    said: list[str] = []
    assert _fetch(server, target, notice=said.append).read_bytes() == _DATA
    assert said == []


# small answers


def test_probe(server: FakeHub) -> None:
    found = web.probe(server.url + _PATH, name="words")
    assert found is not None
    assert found.size_bytes == len(_DATA)
    assert found.etag
    assert web.probe(server.url + "/none", name="words") is None
    server.statuses[_PATH] = [500] * 9
    with pytest.raises(UnavailableError, match="words could not be looked up: status 500"):
        web.probe(server.url + _PATH, name="words", retry_wait_s=0)


def test_read_url(server: FakeHub) -> None:
    server.answers["/api"] = lambda fields: json.dumps(fields).encode()
    server.statuses["/api"] = [503]
    assert json.loads(web.read_url(server.url + "/api?source=en", name="API", retry_wait_s=0)) == {
        "source": "en"
    }
    server.cuts[_PATH] = [1000]
    assert web.read_url(server.url + _PATH, name="words", retry_wait_s=0) == _DATA
    with pytest.raises(UnavailableError, match="longer than 1,000 bytes"):
        web.read_url(server.url + _PATH, name="words", max_bytes=1000)
