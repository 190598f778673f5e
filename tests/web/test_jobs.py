"""Claims about files: they are read and priced outside the server, under names of ours, and told without our paths."""

import asyncio
import csv
import io
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from engine.serving.price_file_job import PriceFileSettings
from index.encoders.device import Runtime
from tests.web.conftest import until
from web.jobs import runner, work
from web.jobs.folder import AT_WORK, DONE, READ, JobFolder, JobFolders, JobState
from web.pricing.indexes import ServedIndex
from web.problems import without_folder

ITEMS = b'sku,title\n1,Olive oil 16.9 fl oz\n2,"Utility rope, 100 feet"\n3,\n'


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs worked on in this process, which spares the imports of another."""

    async def run(self: Any, job: JobFolder) -> None:
        await asyncio.to_thread(work.work, job)

    monkeypatch.setattr(runner.JobRunner, "_work", run)


@pytest.fixture
def files(serve: Callable[..., Any], here: None, tmp_path: Path) -> Iterator[httpx2.Client]:
    with serve(jobs_dir=str(tmp_path)) as client:
        yield client


def waited(tell: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is told of a job once it is not at work."""
    told: dict[str, Any] = {}

    def ended() -> bool:
        told.update(tell())
        return told["state"] not in AT_WORK

    until(ended)
    return told


def upload(client: httpx2.Client, data: bytes, name: str = "stock.csv") -> dict[str, Any]:
    answer = client.post("/v1/files", files={"file": (name, data)})
    assert answer.status_code == 202, answer.text
    address = answer.headers["location"]
    return waited(lambda: client.get(address).json())


def test_a_file_is_priced_as_the_command_prices_it(files: httpx2.Client, price: Any, shop: Any, tmp_path: Path) -> None:
    told = upload(files, ITEMS)
    assert (told["state"], told["counts"]["priced"], told["counts"]["rejected"]) == ("done", 2, 1)
    rows = list(csv.DictReader(io.StringIO(files.get(told["result"]).text)))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "items.csv").write_bytes(ITEMS)
    out = tmp_path / "own" / "out.csv"
    assert price("predict", tmp_path / "own" / "items.csv", "-o", out, "--full", "--index", shop.index).code == 0
    assert rows == list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert "no text" in files.get(told["rejects"]).text
    assert "title" in json.dumps(told["reading"])
    assert str(tmp_path) not in json.dumps(told)


def test_the_pages_lead_from_a_file_to_its_prices_without_a_script(files: httpx2.Client) -> None:
    sent = files.post("/files", files={"file": ("<b>stock</b>.csv", ITEMS)})
    assert sent.status_code == 303
    page = sent.headers["location"]
    waited(lambda: {"state": "reading" if "being read" in files.get(page).text else "read"})
    understood = files.get(page).text
    assert "&lt;b&gt;stock" in understood and "<b>stock" not in understood
    assert "Price 3 rows" in understood and "title" in understood  # as many as are then looked at, priced or not
    assert "Rows that no catalogue could take" in understood
    assert files.post(page, data={"action": "price"}).status_code == 303
    waited(lambda: {"state": "pricing" if "data-job" in files.get(page).text else "done"})
    assert "Download the prices" in files.get(page).text
    assert files.get(f"{page}/prices.csv").headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02" * 50, b"PK\x03\x04" + b"x" * 100])
def test_a_file_that_is_refused_gets_one_sentence_with_its_own_name(
    data: bytes, files: httpx2.Client, tmp_path: Path
) -> None:
    told = upload(files, data, "mine.xlsx")
    assert told["state"] == "refused"
    assert told["detail"].endswith(".") and str(tmp_path) not in told["detail"]
    assert files.get(f"/v1/files/{told['id']}/result").status_code == 409
    assert told["detail"].split("'")[0] in files.get(f"/files/{told['id']}").text.replace("&#39;", "'")


def test_an_index_that_is_gone_is_told_by_its_name_and_not_by_its_path(
    serve: Callable[..., Any], here: None, own_index: Path, tmp_path: Path
) -> None:
    with serve(index=ServedIndex.open("shop", str(own_index)), jobs_dir=str(tmp_path)) as client:
        own_index.rename(own_index.with_name("gone"))
        told = upload(client, ITEMS)
    assert told["state"] == "refused" and "There is no index at shop: make one" in told["detail"]
    assert str(tmp_path) not in json.dumps(told)


def test_a_sentence_has_the_name_of_a_folder_for_its_path_and_for_no_other_path(tmp_path: Path) -> None:
    folder, link = tmp_path / "ix", tmp_path / "live"
    folder.mkdir()
    link.symlink_to(folder)
    for path in (folder, link):
        sentence = f"{link}/gen-000002 is damaged; no index at {path}: use `--index {path}`, or {path}."
        assert without_folder(sentence, link, "a\\1") == (
            "a\\1/gen-000002 is damaged; no index at a\\1: use `--index a\\1`, or a\\1."
        )
    for other in (f"{folder}2", f"{folder}.parts", f"{folder}-old", f"/srv{folder}"):
        assert without_folder(f"It is at {other}.", folder, "a") == f"It is at {other}."


@pytest.mark.parametrize("job", ["x", "0" * 32, "..", "%2e%2e", "a" * 300])
def test_nothing_but_a_name_of_ours_is_looked_for(job: str, files: httpx2.Client) -> None:
    assert files.get(f"/v1/files/{job}").status_code == 404
    assert files.delete(f"/v1/files/{job}").status_code == 404


def test_a_job_that_is_ended_is_gone_with_its_process_and_its_files(serve: Any, tmp_path: Path) -> None:
    """With the real process, which is ended."""
    with serve(jobs_dir=str(tmp_path)) as client:
        address = client.post("/v1/files", files={"file": ("a.csv", ITEMS)}).headers["location"]
        assert client.delete(address).status_code == 204
        assert client.get(address).status_code == 404
        assert until(lambda: not any(tmp_path.iterdir()))


STAYS = 'while [ -e "$0.number" ]; do sleep 0.1; done'


@pytest.fixture
def worker(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """`worker(SCRIPT)`: what works on jobs from here on; its number will stand in the file that is returned."""
    program = tmp_path_factory.mktemp("worker") / "worker"
    number = program.with_name("worker.number")

    def put(script: str) -> Path:
        program.write_text(f'#!/bin/sh\necho $$ > "$0.new"\nmv "$0.new" "$0.number"\n{script}\n')
        program.chmod(0o700)
        monkeypatch.setattr(runner, "sys", SimpleNamespace(executable=str(program)))
        return number

    yield put
    number.unlink(missing_ok=True)  # which ends one that stays


def begun(client: httpx2.Client, number: Path) -> tuple[str, int]:
    """The address of a job, and the process that works on it."""
    address = client.post("/v1/files", files={"file": ("a.csv", ITEMS)}).headers["location"]
    assert until(number.exists)
    return address, int(number.read_text())


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", ["the job is ended", "the server ends"])
def test_no_process_outlives_its_job_or_the_server(
    how: str, serve: Any, worker: Callable[..., Path], tmp_path: Path
) -> None:
    number = worker(STAYS)
    with serve(jobs_dir=str(tmp_path)) as client:
        address, process = begun(client, number)
        assert lives(process) and client.get(address).json()["state"] == "reading"
        if how == "the job is ended":
            assert client.delete(address).status_code == 204
            assert until(lambda: not any(tmp_path.iterdir()))
            assert not lives(process)
    assert not lives(process)


def test_a_process_that_falls_is_a_job_that_is_refused(serve: Any, worker: Callable[..., Path], tmp_path: Path) -> None:
    worker("exit 1")
    with serve(jobs_dir=str(tmp_path)) as client:
        told = upload(client, ITEMS)
    assert (told["state"], told["detail"]) == ("refused", runner.FELL)


def test_a_process_that_takes_too_long_is_ended_and_its_job_refused(
    serve: Any, worker: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, clock = worker(STAYS), SimpleNamespace(monotonic=time.monotonic)
    monkeypatch.setattr(runner, "time", clock)
    with serve(jobs_dir=str(tmp_path)) as client:
        address, process = begun(client, number)
        hours = itertools.count(1)  # one over at each look, whenever the first is
        clock.monotonic = lambda: time.monotonic() + next(hours) * runner.MOST_SECONDS
        told = waited(lambda: client.get(address).json())
        assert (told["state"], told["detail"]) == ("refused", runner.FELL)
        assert not lives(process)


def test_jobs_are_worked_on_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work: list[str] = []
    seen: list[list[str]] = []

    async def work_on(self: Any, job: JobFolder) -> None:
        at_work.append(job.id)
        seen.append(at_work.copy())
        for _ in range(10):
            await asyncio.sleep(0)
        at_work.remove(job.id)

    async def whole() -> None:
        jobs = runner.JobRunner(JobFolders(tmp_path))
        for job in made:
            job.write(JobState("a", "shop", "x", state=DONE))
            jobs.begin(job)
        await asyncio.gather(*jobs._tasks)

    monkeypatch.setattr(runner.JobRunner, "_work", work_on)
    made = [JobFolders(tmp_path).make() for _ in range(3)]
    asyncio.run(whole())
    assert seen == [[job.id] for job in made]


def test_a_result_is_not_there_before_the_job_is_done_and_gone_when_it_is_ended(files: httpx2.Client) -> None:
    page = files.post("/files", files={"file": ("a.csv", ITEMS)}).headers["location"]
    assert files.get(f"/v1{page}/result").status_code == 409
    assert "DELETE" in files.patch(f"/v1{page}").headers["allow"]
    assert files.patch(f"/v1{page}/result").headers["allow"] == "GET"
    waited(lambda: files.get(f"/v1{page}").json())
    assert files.delete(f"/v1{page}").status_code == 204
    assert files.get(f"/v1{page}").status_code == 404


def test_a_file_is_read_by_a_process_of_its_own_without_the_token(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRICE_TOKEN", "a secret of many characters")
    with serve(jobs_dir=str(tmp_path)) as client:
        page = client.post("/files", files={"file": ("a.csv", ITEMS)}).headers["location"]
        job = JobFolder(tmp_path / page.rpartition("/")[2])
        waited(lambda: {"state": job.state().state})
    assert (job.state().state, job.state().rows) == (READ, 3)


def test_jobs_whose_hour_is_over_are_gone_and_those_at_work_are_not(tmp_path: Path) -> None:
    folders = JobFolders(tmp_path)
    kept, gone, at_work = folders.make(), folders.make(), folders.make()
    for job in (kept, gone):
        job.write(JobState("a", "shop", "x", state=DONE))
    at_work.write(JobState("a", "shop", "x"))
    for job in (gone, at_work):
        os.utime(job.folder, (0, 0))
    folders.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {kept.id, at_work.id}


def test_a_job_that_another_removes_meanwhile_does_not_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = JobFolders(tmp_path)
    jobs = [folders.make() for _ in range(3)]
    find = folders.find

    def found(job_id: str) -> JobFolder | None:
        if job_id == jobs[1].id:
            jobs[1].folder.rmdir()
        return find(job_id)

    monkeypatch.setattr(folders, "find", found)
    for job in jobs:
        os.utime(job.folder, (0, 0))
    folders.sweep()
    assert list(tmp_path.iterdir()) == []


def test_more_files_than_are_kept_are_turned_away(files: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MOST_JOBS", 0)
    answer = files.post("/v1/files", files={"file": ("a.csv", ITEMS)})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert "keeps" in files.post("/files", files={"file": ("a.csv", ITEMS)}).text


def test_a_file_of_too_many_rows_is_refused(files: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MOST_ROWS", 2)
    assert "more than 2 rows" in upload(files, ITEMS)["detail"]


def test_an_index_that_is_unknown_or_empty_is_refused_before_anything_is_kept(
    files: httpx2.Client, tmp_path: Path
) -> None:
    for index, status in (("other", 404), ("", 422), ("../x", 422)):
        answer = files.post("/v1/files", files={"file": ("a.csv", ITEMS)}, data={"index": index})
        assert answer.status_code == status
    assert list(tmp_path.iterdir()) == []


def test_a_price_list_is_reviewed_from_its_page_and_by_a_program(files: httpx2.Client) -> None:
    priced = b'sku,title,price\n1,Olive oil 16.9 fl oz,9.99\n2,"Utility rope, 100 feet",3000\n'
    page = files.post("/files", files={"file": ("list.csv", priced)}).headers["location"]
    waited(lambda: files.get(f"/v1{page}").json())
    assert "Review their prices" in files.get(page).text
    files.post(page, data={"action": "review"})
    told = waited(lambda: files.get(f"/v1{page}").json())
    assert told["state"] == "done", told["detail"]
    shown = files.get(page).text
    assert "Download the review" in shown and "<li>1: too high</li>" in shown
    rows = list(csv.reader(io.StringIO(files.get(told["result"]).text)))
    assert len(rows) == 3 and any("flag" in cell.lower() for cell in rows[0])
    sent = files.post("/v1/files", files={"file": ("list.csv", priced)}, data={"review": "true"})
    by_api = waited(lambda: files.get(sent.headers["location"]).json())
    assert by_api["state"] == "done" and files.get(by_api["result"]).text == files.get(told["result"]).text


def test_a_review_of_a_file_without_prices_is_refused_in_one_sentence(files: httpx2.Client) -> None:
    sent = files.post("/v1/files", files={"file": ("list.csv", ITEMS)}, data={"review": "true"})
    told = waited(lambda: files.get(sent.headers["location"]).json())
    assert told["state"] == "refused" and told["detail"].count(".") >= 1 and "price" in told["detail"]
    refused = files.post("/v1/files", files={"file": ("list.csv", ITEMS)}, data={"review": "perhaps"})
    assert refused.status_code == 422


def test_encoders_of_a_file_run_as_those_of_the_server(
    serve: Callable[..., Any], here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Runtime] = []
    price_file = work.price_file

    def watched(items: Path, out: Path, index: str, settings: PriceFileSettings, **how: Any) -> Any:
        seen.append(settings.runtime)
        return price_file(items, out, index, settings, **how)

    monkeypatch.setattr(work, "price_file", watched)
    with serve(jobs_dir=str(tmp_path), device="cpu", precision="fp32") as client:
        assert upload(client, ITEMS)["state"] == "done"
    assert seen == [Runtime("cpu", "fp32")]
