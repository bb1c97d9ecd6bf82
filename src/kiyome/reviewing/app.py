"""The app behind the guard: routes, and errors in three parts that never show how the server is built."""

from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kiyome.errors import (
    DecisionConflict,
    InputError,
    KiyomeError,
    StaleArtifact,
    StoreUnavailable,
    UnreadablePhoto,
)
from kiyome.reviewing.routes import decisions, page, rows, stats
from kiyome.reviewing.routes.dependencies import check_names, parts_of
from kiyome.reviewing.session import ReviewSession

STATUS_OF: dict[type[KiyomeError], int] = {
    InputError: 422,
    StoreUnavailable: 503,
    StaleArtifact: 503,
    UnreadablePhoto: 404,
}


def make_app(session: ReviewSession) -> FastAPI:
    """Return the app of a review; serve it behind `kiyome.reviewing.guard.Guard` only."""
    app = FastAPI(
        title="kiyome review",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(check_names)],
        exception_handlers={
            RequestValidationError: _answer_invalid,
            DecisionConflict: _answer_conflict,
            **dict.fromkeys(STATUS_OF, _answer_error),
            HTTPException: _answer_status,
            Exception: _answer_failure,
        },
    )
    app.state.session = session
    for routes in (page, rows, decisions, stats):
        app.include_router(routes.router)
    return app


async def _answer_invalid(request: Request, error: Any) -> JSONResponse:  # noqa: ARG001
    """Name the fields, never their values: those may be no text at all."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or str(part).isidentifier())
    parts = {
        "problem": f"The field {name} of the request is not valid: {first['type']}.",
        "expected": "Expected the fields of this route.",
        "remedy": "Reload the page.",
    }
    return JSONResponse({"error": parts}, status_code=422)


async def _answer_conflict(request: Request, error: Any) -> JSONResponse:
    """Name newer decisions by row, as an image id may show the label in a blind review."""
    current = request.app.state.session.as_json(error.current)
    problem = f"There are newer decisions about {len(current)} of the rows."
    parts = {"problem": problem, "expected": error.expected, "remedy": error.remedy}
    return JSONResponse({"error": parts, "current": current}, status_code=409)


async def _answer_error(request: Request, error: Any) -> JSONResponse:  # noqa: ARG001
    status = next(code for kind, code in STATUS_OF.items() if isinstance(error, kind))
    return JSONResponse(parts_of(error), status_code=status)


async def _answer_status(request: Request, error: Any) -> JSONResponse:  # noqa: ARG001
    """Errors of routes have their three parts; the framework's own get them here."""
    parts = error.detail
    if not isinstance(parts, dict):
        parts = {"problem": f"{parts}.", "expected": "", "remedy": "Reload the page."}
    return JSONResponse({"error": parts}, status_code=error.status_code, headers=error.headers)


async def _answer_failure(request: Request, error: Any) -> JSONResponse:  # noqa: ARG001
    """The traceback is for the person who runs the server: uvicorn prints it there."""
    parts = {"problem": "The server failed; its log has the reason.", "expected": "", "remedy": "Try again."}
    return JSONResponse({"error": parts}, status_code=500)
