"""The page itself and the files that it is made of."""

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from kiyome.reviewing.desk import Desk
from kiyome.reviewing.routes.asking import At, unknown
from kiyome.reviewing.routes.claims import keep_words

KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".md": "text/markdown"}
router = APIRouter()


@router.get("/")
def show_page(desk: At, request: Request) -> Response:
    """The shell; whatever it shows comes from the routes below /api."""
    if (word := request.query_params.get("word")) is not None:
        return _keep(desk, request, word)
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kiyome.reviewing", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = sorted(static_files())
    page = environment.get_template("shell.html").render(
        title=desk.subject.title,
        csrf=desk.csrf,
        icons=[name for name in names if name.endswith(".svg") and "icon" in name],
        sheets=[name for name in names if name.endswith(".css")],
        modules=[name for name in names if name.endswith(".js")],
    )
    answer = Response(page, media_type="text/html; charset=utf-8")
    if desk.subject.blind:
        keep_words(answer, desk, request)
    return answer


def _keep(desk: Desk, request: Request, word: str) -> Response:
    """Lead to the same page without the word, which the browser keeps as a cookie."""
    rest = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "word"])
    answer = Response(status_code=303, headers={"location": f"/?{rest}".rstrip("?")})
    keep_words(answer, desk, request, word)
    return answer


@router.get("/static/{name:path}")
def send_static(name: str, request: Request) -> Response:
    """One of the files that were there at the start: a name is looked up, never joined to a path."""
    path = static_files().get(name)
    if path is None:
        raise unknown("A file of the page has one of its names.", came="another name")
    content = path.read_bytes()
    kind = KINDS.get(path.suffix, "text/plain")
    return tagged(request, content, kind=f"{kind}; charset=utf-8", keep="no-cache")


def tagged(request: Request, content: bytes, *, kind: str, keep: str) -> Response:
    """The content under its digest, or only word that the browser has it."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": keep}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@cache
def static_files() -> dict[str, Path]:
    """The page's files by their names below `static`."""
    root = Path(str(resources.files("kiyome.reviewing") / "static"))
    return {str(path.relative_to(root)): path for path in root.rglob("*") if path.suffix in KINDS}
