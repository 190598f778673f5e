"""Files over HTTP: an upload begins a job; how far it is, its result, and its end. For programs, and as pages."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response

from web.api import REFUSALS, State, chosen_index
from web.jobs.folder import AT_WORK, DONE, PRICING, READ, JobFolder, JobState
from web.jobs.runner import BLOCK
from web.pages.templating import page
from web.problems import Problem, problem_of
from web.schemas import FileJobOut, IndexName
from web.served import Served

api = APIRouter(prefix="/v1/files", responses=REFUSALS)
pages = APIRouter(prefix="/files")
PART = "job"
LONGEST_NAME = 100  # characters shown of a file's name


@api.post("", response_model=FileJobOut, status_code=202, summary="Price a file")
async def post_file(
    request: Request,
    state: State,
    file: Annotated[UploadFile, File()],
    index: Annotated[IndexName | None, Form()] = None,
    review: Annotated[bool, Form()] = False,
) -> Response:
    """Take a file of items (CSV, Excel, JSON, Parquet, exports of shops) and price it, or review its own prices.

    The job is kept for an hour.
    """
    if (await request.form()).get("index") == "":  # which the framework takes for none
        raise Problem(422, "index is empty: name an index, or leave it out.")
    job = await taken(state, file, index, then_price=True, review=review)
    return JSONResponse(state_document(job), 202, headers={"Location": f"/v1/files/{job.id}"})


@api.get("/{job_id}", response_model=FileJobOut, summary="How far a job is")
async def get_job(job_id: str, state: State) -> Response:
    """Say how the file was understood and how far it is."""
    return JSONResponse(state_document(found(state, job_id)))


@api.get("/{job_id}/result", summary="The priced file", responses={200: {"content": {"text/csv": {}}}, **REFUSALS})
async def get_result(job_id: str, state: State) -> Response:
    """Return the priced file as CSV, a line for each row."""
    return result(found(state, job_id))


@api.get("/{job_id}/rejects", summary="The rows without a price", responses={200: {"content": {"text/csv": {}}}})
async def get_rejects(job_id: str, state: State) -> Response:
    """Return the rows that have no price, with their reasons, as CSV."""
    return rejects(found(state, job_id))


@api.delete("/{job_id}", status_code=204, summary="End a job")
async def delete_job(job_id: str, state: State) -> Response:
    """End a job, and remove its files where it has ended."""
    end(found(state, job_id))
    return Response(status_code=204)


@pages.get("")
async def files_page(request: Request, state: State) -> Response:
    """Show the form for a file."""
    return page(request, "files.html", {"problem": None, "indexes": list(state.indexes), "chosen": None})


@pages.post("")
async def send_file(request: Request, state: State) -> Response:
    """Take a file from the form, and show how it is understood."""
    index: str | None = None
    try:
        async with request.form(max_files=1, max_fields=10) as fields:
            file, index = fields.get("file"), str(fields.get("index") or "") or None
            if isinstance(file, str) or file is None or not file.filename:
                raise Problem(422, "There is no file: choose one.")
            job = await taken(state, file, index, then_price=False)
    except HTTPException as error:
        problem = problem_of(error)
        values = {"problem": problem.detail, "indexes": list(state.indexes), "chosen": index}
        return page(request, "files.html", values, status=problem.status_code, headers=problem.headers)
    return RedirectResponse(f"/files/{job.id}", 303)


@pages.get("/{job_id}")
async def job_page(request: Request, job_id: str, state: State) -> Response:
    """Show how the file was understood, how far it is, and its result."""
    job = found(state, job_id)
    template = "job.html" if request.query_params.get("part") == PART else "file.html"
    current = job.state()
    values = {"job": current, "id": job.id, "at_work": current.state in AT_WORK, "rejects": job.rejects.exists()}
    return page(request, template, values)


@pages.post("/{job_id}")
async def change_job(request: Request, job_id: str, state: State) -> Response:
    """Price the file, or end the job, by the button that was pressed."""
    job = found(state, job_id)
    async with request.form(max_files=0, max_fields=10) as fields:
        action = fields.get("action")
    if action in ("price", "review") and job.state().state == READ:
        job.change(state=PRICING, review=action == "review")
        state.jobs.begin(job)
    elif action == "cancel":
        end(job)
        return RedirectResponse("/files", 303)
    return RedirectResponse(f"/files/{job.id}", 303)


@pages.get("/{job_id}/prices.csv")
async def prices_csv(job_id: str, state: State) -> Response:
    """Return the priced file."""
    return result(found(state, job_id))


@pages.get("/{job_id}/without-price.csv")
async def without_price_csv(job_id: str, state: State) -> Response:
    """Return the rows that have no price."""
    return rejects(found(state, job_id))


async def taken(state: Served, file: Any, index: str | None, *, then_price: bool, review: bool = False) -> JobFolder:
    """Take an upload into a folder of its own and begin to read it. Problem where there is no room or no index."""
    chosen = chosen_index(state, index)
    state.jobs.require_room()
    job = state.jobs.folders.make()
    with job.upload.open("xb") as upload:
        while block := await file.read(BLOCK):
            await asyncio.to_thread(upload.write, block)
    name = (file.filename or "the file")[-LONGEST_NAME:]
    how = state.settings
    begun = JobState(
        name,
        chosen.name,
        str(chosen.folder),
        then_price=then_price,
        review=review,
        device=how.device,
        precision=how.precision,
    )
    job.write(begun)
    state.jobs.begin(job)
    return job


def found(state: Served, job_id: str) -> JobFolder:
    """Find a job. Problem where there is none."""
    job = state.jobs.folders.find(job_id)
    if job is None:
        raise Problem(404, "There is no such job here: its hour is over, or it never was.")
    return job


def state_document(job: JobFolder) -> dict[str, Any]:
    """Return what a job's state says, for JSON: no path of this machine."""
    state = job.state()
    ready = state.state == DONE
    return {
        "id": job.id,
        "name": state.name,
        "index": state.index,
        "state": state.state,
        "rows": state.rows,
        "rows_done": state.rows if ready else state.rows_done,
        "detail": state.detail,
        "reading": state.reading,
        "counts": state.result,
        "result": f"/v1/files/{job.id}/result" if ready else None,
        "rejects": f"/v1/files/{job.id}/rejects" if ready and job.rejects.exists() else None,
    }


def result(job: JobFolder) -> Response:
    """Return the priced file. Problem where there is none yet."""
    return _csv(job.prices, job.state(), "prices.csv")


def rejects(job: JobFolder) -> Response:
    """Return the rows that have no price. Problem where there are none."""
    return _csv(job.rejects, job.state(), "without-price.csv")


def _csv(path: Path, state: JobState, name: str) -> Response:
    if state.state != DONE or not path.exists():
        raise Problem(
            409, f"There is no such file of the job, whose state is {state.state!r}: look again when it is done."
        )
    return FileResponse(path, media_type="text/csv; charset=utf-8", filename=name)


def end(job: JobFolder) -> None:
    """End a job: its files go at once where it has ended, else when its process has."""
    job.stop.touch()
    if job.state().state not in AT_WORK:
        shutil.rmtree(job.folder, ignore_errors=True)
