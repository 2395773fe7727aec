"""Files that jobs leave: who gets them, in which pieces, by which names."""

from __future__ import annotations

import os
from typing import Any

import attachment_jobs
import pytest
import sample
import transaction
from web_site import Site
from webob import Request
from ZODB.blob import Blob

import zodbjobs
from zodbjobs.web import sending
from zodbjobs.web.sending import BINARY, disposition, safe_kind

Put = Any

DATA = bytes(range(256)) * 10


@pytest.fixture
def path(put: Put) -> str:
    """Where a file of 2,560 bytes is."""
    job_id = put(attachment_jobs.attach, "data.csv", DATA, run=True)
    return f"/jobs/{job_id}/files/data.csv"


def test_a_file_is_on_the_page_and_is_saved_as_it_is_called(site: Site, path: str) -> None:
    page = site.get(path.partition("/files")[0])
    link = page.html.select_one(".zj-files a")
    assert (link.text, link["href"], link["download"]) == (
        *("Download data.csv", path, "data.csv"),
    )
    assert page.html.select_one(".zj-size").text == "2.6 kB"
    got = site.get(path)
    assert (got.status_int, got.body, got.content_type) == (200, DATA, "text/csv")
    assert got.content_length == len(DATA)
    assert got.headers["Content-Disposition"] == 'attachment; filename="data.csv"'
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Cache-Control"] == "private, no-store"
    assert "sandbox" in got.headers["Content-Security-Policy"]
    assert site.request("HEAD", path).content_length == len(DATA)


def test_the_only_file_is_the_result(site: Site, path: str) -> None:
    job = path.partition("/files")[0]
    assert site.get(f"{job}.json").headers["Location"] == path
    assert site.get(f"{job}/result").headers["Location"] == path


def test_of_two_files_neither_is_the_result(site: Site, put: Put) -> None:
    job_id = put(attachment_jobs.attach_two, run=True)
    got = site.get(f"/jobs/{job_id}.json")
    assert (got.status_int, [each["name"] for each in got.json["files"]]) == (200, ["a", "b"])
    assert site.get(f"/jobs/{job_id}/result").status_int == 404


def test_a_blob_is_a_file_too(site: Site, put: Put) -> None:
    job_id = put(sample.make_blob, 1000, 1, run=True, title="Grades <2026>/ü")
    got = site.get(f"/jobs/{job_id}/result")
    assert (got.content_type, got.content_length) == (BINARY, 1000)
    assert got.headers["Content-Disposition"] == (
        "attachment; filename=\"Grades <2026>__\"; filename*=UTF-8''Grades%20%3C2026%3E_%C3%BC"
    )
    link = site.get(f"/jobs/{job_id}").html.select_one(".zj-files a")
    assert link["href"] == f"/jobs/{job_id}/result"
    part = site.get(f"/jobs/{job_id}/result", Range="bytes=990-")
    assert (part.status_int, part.body) == (206, got.body[990:])


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, 2559),
        ("bytes=2559-2559", 2559, 2559),
        ("bytes=100-99999", 100, 2559),
        ("bytes=-10", 2550, 2559),
        ("bytes=-99999", 0, 2559),
    ],
)
def test_a_range(site: Site, path: str, wanted: str, first: int, last: int) -> None:
    got = site.get(path, Range=wanted)
    assert (got.status_int, got.body) == (206, DATA[first : last + 1])
    assert got.headers["Content-Range"] == f"bytes {first}-{last}/2560"
    assert got.content_length == last - first + 1


@pytest.mark.parametrize("wanted", ["bytes=2560-", "bytes=9999-10000", "bytes=-0"])
def test_a_range_that_there_isn_t(site: Site, path: str, wanted: str) -> None:
    got = site.get(path, Range=wanted)
    assert (got.status_int, got.body) == (416, b"")
    assert got.headers["Content-Range"] == "bytes */2560"


@pytest.mark.parametrize(
    "wanted", ["bytes=9-3", "bytes=-", "bytes=0-1,5-6", "items=0-1", "bytes=a-b", "bytes 0-1"]
)
def test_what_is_no_range_is_the_whole(site: Site, path: str, wanted: str) -> None:
    got = site.get(path, Range=wanted)
    assert (got.status_int, got.body) == (200, DATA)


def test_a_range_of_what_has_changed_is_the_whole(site: Site, path: str) -> None:
    etag = site.get(path).headers["ETag"]
    same = site.get(path, Range="bytes=0-9", If_Range=etag)
    other = site.get(path, Range="bytes=0-9", If_Range='"other"')
    assert (same.status_int, other.status_int) == (206, 200)


def test_a_failed_job_gives_no_files(site: Site, put: Put) -> None:
    job_id = put(attachment_jobs.attach_and_return_a_failure, run=True)
    assert site.get(f"/jobs/{job_id}/files/rows.csv").status_int == 404
    assert not site.get(f"/jobs/{job_id}").html.select(".zj-files")


def test_a_file_that_is_lost_is_not_found(
    site: Site, path: str, connection: Any, queue: Any
) -> None:
    job_id = path.split("/")[2]
    job = zodbjobs.insights.find_job(connection, job_id)
    assert job is not None
    with job.attachments["data.csv"].open() as file:
        name = file.name

    os.chmod(name, 0o600)
    os.remove(name)
    assert site.get(path).status_int == 404


def test_unknown_files(site: Site, path: str) -> None:
    for tail in ("other.csv", "..%2f..%2fetc%2fpasswd", "data.csv%00", "data.csv/"):
        assert site.get(f"{path.rpartition('/')[0]}/{tail}").status_int == 404


def test_the_file_outlives_the_connection(site: Site, path: str) -> None:
    """A host closes the connection when the application has answered, and sends then."""
    environ = Request.blank(path, headers={"X-Who": "ada"}).environ
    body = site.host(environ, lambda *args: None)
    assert next(iter(body)) == DATA
    body.close()
    assert body._file.closed


def test_it_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch, site: Site, path: str) -> None:
    monkeypatch.setattr(sending, "_CHUNK", 1000)
    environ = Request.blank(path, headers={"X-Who": "ada"}).environ
    body = site.host(environ, lambda *args: None)
    assert [len(piece) for piece in body] == [1000, 1000, 560]
    assert body._file.closed


# Names and types


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.csv", 'attachment; filename="a.csv"'),
        ("a b.csv", 'attachment; filename="a b.csv"'),
        ('a"b\\c.csv', "attachment; filename=\"a_b_c.csv\"; filename*=UTF-8''a%22b_c.csv"),
        ("../../etc/passwd", 'attachment; filename="_.._etc_passwd"'),
        ("a\r\nSet-Cookie: x", 'attachment; filename="a__Set-Cookie: x"'),
        ("grün.csv", "attachment; filename=\"gr_n.csv\"; filename*=UTF-8''gr%C3%BCn.csv"),
        ("a\u202egpj.exe", 'attachment; filename="a_gpj.exe"'),
        ("...", 'attachment; filename="file"'),
        ("", 'attachment; filename="file"'),
        ("50%41.csv", "attachment; filename=\"50_41.csv\"; filename*=UTF-8''50%2541.csv"),
    ],
)
def test_names_are_safe(name: str, header: str) -> None:
    assert disposition(name) == header


@pytest.mark.parametrize(
    "kind",
    [
        *("text/html", "TEXT/HTML; charset=utf-8", "application/xhtml+xml", "image/svg+xml"),
        *("text/javascript", "application/ecmascript", "text/xml", "text/css", "nonsense", ""),
        *("text/plain\r\nX: y", "multipart/x-mixed-replace; boundary=x"),
    ],
)
def test_what_a_browser_might_run_has_no_type(kind: str) -> None:
    assert safe_kind(kind) == BINARY


@pytest.mark.parametrize(
    "kind",
    [
        *("text/csv", "text/plain; charset=utf-8", "application/pdf", "image/png"),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ],
)
def test_other_types_are_kept(kind: str) -> None:
    assert safe_kind(kind) == kind


def test_a_file_with_markup_in_its_name(site: Site, put: Put) -> None:
    name = "<img src=x onerror=alert(1)>\"'.html"
    job_id = put(attachment_jobs.attach, name, b"<script>", run=True)
    page = site.get(f"/jobs/{job_id}")
    assert not page.html.select("img")
    got = site.get(page.html.select_one(".zj-files a")["href"])
    assert (got.body, got.content_type) == (b"<script>", BINARY)
    assert got.headers["Content-Disposition"].startswith("attachment; ")


def test_a_gigabyte_is_never_in_memory(connection: Any) -> None:
    """Pieces of a file that isn't even there: what is sent is what is read."""
    connection.root()["blob"] = blob = Blob()
    with blob.open("w") as file:
        file.truncate(1_000_000_000)
    transaction.commit()
    request = Request.blank("/", headers={"Range": "bytes=-1000000"})
    response = sending.send(request, blob.open("c"), "big", BINARY, "1")
    assert sum(map(len, response.app_iter)) == 1_000_000
