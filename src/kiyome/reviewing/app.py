"""The app behind the guard: routes, and errors in three parts that never show how the server is made."""

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
from kiyome.reviewing.routes.dependencies import own_names, parts_of
from kiyome.reviewing.session import Desk

STATUS_OF: dict[type[KiyomeError], int] = {
    InputError: 422,
    StoreUnavailable: 503,
    StaleArtifact: 503,
    UnreadablePhoto: 404,
}


def make_app(desk: Desk) -> FastAPI:
    """The app that shows what lies on a desk; serve it behind `kiyome.reviewing.guard.Guard` only."""
    app = FastAPI(
        title="kiyome review",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(own_names)],
        exception_handlers={
            RequestValidationError: _say_what_is_wrong,
            DecisionConflict: _say_what_stands,
            **dict.fromkeys(STATUS_OF, _say_the_error),
            HTTPException: _say_the_status,
            Exception: _say_nothing,
        },
    )
    app.state.desk = desk
    for routes in (page, rows, decisions, stats):
        app.include_router(routes.router)
    return app


async def _say_what_is_wrong(request: Request, error: Any) -> JSONResponse:  # noqa: ARG001
    """Name the fields, never what they held: that may be no text at all."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or str(part).isidentifier())
    parts = {
        "must": "A request has the fields that this route knows.",
        "came": f"{place}: {first['type']}",
        "remedy": "Reload the page.",
    }
    return JSONResponse({"error": parts}, status_code=422)


async def _say_what_stands(request: Request, error: Any) -> JSONResponse:
    """Give the page what was decided since; by row, as an image id may tell the label in a blind review."""
    current = request.app.state.desk.written(error.current)
    came = f"a newer decision about {len(current)} of the rows"
    parts = {"must": error.must, "came": came, "remedy": error.remedy}
    return JSONResponse({"error": parts, "current": current}, status_code=409)


async def _say_the_error(request: Request, error: Any) -> JSONResponse:  # noqa: ARG001
    status = next(code for kind, code in STATUS_OF.items() if isinstance(error, kind))
    return JSONResponse(parts_of(error), status_code=status)


async def _say_the_status(request: Request, error: Any) -> JSONResponse:  # noqa: ARG001
    """Answers of routes have their three parts; the framework's own get them here."""
    parts = error.detail
    if not isinstance(parts, dict):
        parts = {
            "must": "A request asks for what is here.",
            "came": parts,
            "remedy": "Reload the page.",
        }
    return JSONResponse({"error": parts}, status_code=error.status_code, headers=error.headers)


async def _say_nothing(request: Request, error: Any) -> JSONResponse:  # noqa: ARG001
    """The traceback is for whoever runs the server: uvicorn prints it there."""
    parts = {
        "must": "The server answers.",
        "came": "The server failed; its log says why.",
        "remedy": "Try again.",
    }
    return JSONResponse({"error": parts}, status_code=500)
