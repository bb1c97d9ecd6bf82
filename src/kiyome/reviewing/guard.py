"""What every request passes before a route sees it, and every answer before it leaves.

request ─► known Host ─► GET, HEAD, POST ─► own page asks ─► token ─► CSRF header ─► small, soon ─► route
answer  ◄─ policy, nosniff, same origin only, nothing cached by chance ◄─────────────────────────────┘

It stands in front of the whole app, so a new route or method is guarded before it is written. Methods are
allowed by name: a list of forbidden ones forgets one (Ray, CVE-2026-27482). Host is checked by name against
DNS rebinding (MLflow, CVE-2025-14279), origin by Sec-Fetch-Site, else by Origin, as Go 1.25 does.
"""

import asyncio
import hashlib
import hmac
import html
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

MAX_BODY = 4 * 2**20
"""Bytes; 5,000 decisions with long class names need less."""

MAX_HEAD = 16 * 2**10
"""Characters of the query and the headers."""

BODY_SECONDS = 20.0
"""A body that has not come by then never will."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Of the page: files of this server only, nothing inline, and no text that becomes markup."""

PHOTO_POLICY = "default-src 'none'; sandbox"
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is asked of a request."""

    hosts: frozenset[str]
    """Names that may stand in Host, in lower case, without a port."""
    any_address: bool = False
    """Whether an IP address may stand there, too: no rebinding name is one."""
    csrf: str
    """What the page says in X-CSRF-Token when it changes something."""
    token: str | None = None
    """What a visitor must know; None lets in whoever reaches the server."""
    cookie_key: bytes | None = None
    """What the cookie of a visitor is made with; the token if not given."""
    cookie: str = "kiyome"
    """Browsers keep one jar for all ports of a host, so the name tells the port."""
    max_body: int = MAX_BODY

    @property
    def cookie_value(self) -> str:
        """What shows that a browser knew the token, without holding it."""
        key = self.cookie_key or (self.token or "").encode()
        return hmac.new(key, b"kiyome review", hashlib.sha256).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An answer that no route gave."""

    status: int
    must: str
    came: str
    remedy: str
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """The head of a request: what the checks look at."""

    method: str
    path: str
    query: str
    headers: dict[str, list[str]]
    """Every value of each name, so that a second Host cannot hide."""

    def only(self, name: str) -> str | None:
        """The value of a header that stands there once; None where it is absent or doubled."""
        values = self.headers.get(name, [])
        return values[0] if len(values) == 1 else None


def request_of(scope: MutableMapping[str, Any]) -> Request:
    """The head of an ASGI request.

    >>> scope = {"method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"a")] * 2}
    >>> request_of(scope).headers, request_of(scope).only("host")
    ({'host': ['a', 'a']}, None)
    """
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    query = scope["query_string"].decode("latin-1")
    return Request(method=scope["method"], path=scope["path"], query=query, headers=headers)


def refusal_of(request: Request, rules: Rules) -> Refusal | None:
    """The first rule that a request breaks; None where it may pass.

    >>> rules = Rules(hosts=frozenset({"localhost"}), csrf="secret")
    >>> asked = Request(method="GET", path="/", query="", headers={"host": ["evil.com"]})
    >>> refusal_of(asked, rules).status
    403
    >>> asked = Request(method="GET", path="/", query="", headers={"host": ["localhost:80"]})
    >>> refusal_of(asked, rules) is None
    True
    """
    return next((refusal for check in CHECKS if (refusal := check(request, rules))), None)


def host_refusal(request: Request, rules: Rules) -> Refusal | None:
    """Refuse a Host that this server is not called by."""
    match = _HOST.fullmatch(request.only("host") or "")
    name = match[1].lower() if match else ""
    if name in rules.hosts or (rules.any_address and _is_address(name)):
        return None
    return Refusal(
        status=403,
        must="A request names this server.",
        came="another Host, or none",
        remedy="Open the address that 'kiyome review' printed.",
    )


def method_refusal(request: Request, rules: Rules) -> Refusal | None:  # noqa: ARG001 - every check takes both
    """Refuse every method but three."""
    if request.method in ("GET", "HEAD", "POST"):
        return None
    return Refusal(
        status=405,
        must="Methods are GET, HEAD and POST.",
        came="another method",
        remedy="Use one of these.",
        headers=((b"allow", b"GET, HEAD, POST"),),
    )


def origin_refusal(request: Request, rules: Rules) -> Refusal | None:  # noqa: ARG001
    """Refuse what the page of another site asks for; a link to the page itself may be followed."""
    site = request.headers.get("sec-fetch-site")
    if request.method == "POST":
        own = request.only("sec-fetch-site") == "same-origin" if site else _own_origin(request)
    else:
        own = not site or request.only("sec-fetch-site") in ("same-origin", "none") or follows_link(request)
    if own:
        return None
    return Refusal(
        status=403,
        must="Only the review page of this server may ask for this.",
        came="a request from another site, or of unknown origin",
        remedy="Open the review page itself; scripts send an Origin header that matches Host.",
    )


def token_refusal(request: Request, rules: Rules) -> Refusal | None:
    """Refuse whoever has neither the token in the address of the page nor the cookie that it became."""
    if rules.token is None or _same(_cookie(request, rules.cookie), rules.cookie_value):
        return None
    if token_in(request) is not None and _same(token_in(request) or "", rules.token):
        return None
    return Refusal(
        status=401,
        must="Visitors know the token of this review.",
        came="no token, or another one",
        remedy="Open the whole address that 'kiyome review' printed, with its token.",
    )


def csrf_refusal(request: Request, rules: Rules) -> Refusal | None:
    """Refuse a change that does not carry what only our page can read."""
    if request.method != "POST" or _same(request.only("x-csrf-token") or "", rules.csrf):
        return None
    return Refusal(
        status=403,
        must="A change carries the X-CSRF-Token of this server's page.",
        came="another token, or none",
        remedy="Reload the page: the server was started again since.",
    )


def size_refusal(request: Request, rules: Rules) -> Refusal | None:
    """Refuse a long head, and a body that says itself that it is too long."""
    values = (value for each in request.headers.values() for value in each)
    if len(request.path) + len(request.query) + sum(map(len, values)) > MAX_HEAD:
        return Refusal(
            status=431, must="The head of a request is short.", came="a long one", remedy="Ask for less."
        )
    length = request.only("content-length") or "0"
    small = length.isascii() and length.isdigit() and int(length[:20]) <= rules.max_body
    return None if small else _too_large(rules)


CHECKS = (host_refusal, method_refusal, origin_refusal, token_refusal, csrf_refusal, size_refusal)
"""In this order: a stranger learns of nothing but the first."""


def follows_link(request: Request) -> bool:
    """Whether somebody comes to the page by a link of another site: browsers send no strict cookie then."""
    site, mode = request.headers.get("sec-fetch-site"), request.only("sec-fetch-mode")
    is_page = request.path == "/" and request.method in ("GET", "HEAD")
    return is_page and mode == "navigate" and site not in (None, ["same-origin"], ["none"])


def token_in(request: Request) -> str | None:
    """The token that the address of the page holds."""
    if request.path != "/" or request.method != "GET":
        return None
    return dict(parse_qsl(request.query)).get("token")


@dataclass(frozen=True, kw_only=True)
class Guard:
    """An ASGI app that lets another one see only what keeps the rules."""

    app: App
    rules: Rules

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # no route speaks anything else
            return await send({"type": "websocket.close", "code": 1008})
        request = request_of(scope)
        answer = _dressed(send, request)
        refusal, linked = refusal_of(request, self.rules), follows_link(request)
        if refusal and not (linked and refusal.status == 401):
            return await _refuse(answer, request, refusal)
        came_in = not refusal and self.rules.token is not None and token_in(request) is not None
        if came_in or linked:
            return await _lead_on(answer, request, self.rules if came_in else None, by_page=linked)
        if request.method == "POST":
            body = await _whole_body(receive, self.rules)
            if isinstance(body, Refusal):
                return await _refuse(answer, request, body)
            receive = _replayed(body, receive)
        return await self.app(
            {**scope, "method": "POST" if request.method == "POST" else "GET"}, receive, answer
        )


def _is_address(name: str) -> bool:
    try:
        return not ipaddress.ip_address(name.strip("[]")).is_unspecified
    except ValueError:
        return False


def _own_origin(request: Request) -> bool:
    origin, host = request.only("origin"), request.only("host")
    return origin is not None and origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _cookie(request: Request, name: str) -> str:
    pairs = (
        pair.strip().partition("=") for line in request.headers.get("cookie", []) for pair in line.split(";")
    )
    return next((value for key, _, value in pairs if key == name), "")


def _same(one: str, other: str) -> bool:
    """In constant time, so that nobody learns the secret letter by letter."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _too_large(rules: Rules) -> Refusal:
    return Refusal(
        status=413,
        must=f"A request holds at most {rules.max_body // 2**20} MiB.",
        came="a longer one",
        remedy="Send fewer decisions at once.",
    )


async def _whole_body(receive: Receive, rules: Rules) -> bytes | Refusal:
    """The body, whatever its head said of its length, unless it is long or late."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return _late("one that broke off")
                body += message.get("body", b"")
                if len(body) > rules.max_body:
                    return _too_large(rules)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return _late(f"one that was not whole after {BODY_SECONDS:.0f} s")


def _late(came: str) -> Refusal:
    return Refusal(status=408, must="A request arrives whole.", came=came, remedy="Send it again.")


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


def _dressed(send: Send, request: Request) -> Send:
    """Put the headers of safety on whatever answer comes, and no body on the answer to HEAD."""
    shown = request.path.startswith(("/photos/", "/thumbnails/"))
    policy = PAGE_POLICY if request.path == "/" else PHOTO_POLICY if shown else DATA_POLICY
    ours = ((b"content-security-policy", policy.encode()), *ALWAYS)

    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in ours}
            kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in names]
            if not any(name.lower() == b"cache-control" for name, _ in kept):
                kept.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*kept, *ours]}
        elif request.method == "HEAD":
            message = {**message, "body": b""}
        await send(message)

    return dressed


async def _refuse(answer: Send, request: Request, refusal: Refusal) -> None:
    """Say why: in JSON to programs, in words to whoever opened the page."""
    parts = {"must": refusal.must, "came": refusal.came, "remedy": refusal.remedy}
    if request.path == "/":
        kind, body = b"text/plain; charset=utf-8", f"{refusal.must} Came: {refusal.came}. {refusal.remedy}\n"
    else:
        kind, body = b"application/json", json.dumps({"error": parts})
    # closed, as what is left of the body would be read as the next request
    headers = [(b"content-type", kind), (b"connection", b"close"), *refusal.headers]
    await _send(answer, refusal.status, headers, body.encode())


async def _lead_on(answer: Send, request: Request, came_in: Rules | None, *, by_page: bool) -> None:
    """Lead to the same page; without the token, which would stay in the history, where that let somebody in.

    The way of a link goes on by a page of ours, so that the browser sends its cookies from there on.
    """
    pairs = [pair for pair in parse_qsl(request.query) if came_in is None or pair[0] != "token"]
    location, headers = f"/?{urlencode(pairs)}".rstrip("?"), []
    if came_in is not None:
        cookie = f"{came_in.cookie}={came_in.cookie_value}; Path=/; HttpOnly; SameSite=Strict"
        headers.append((b"set-cookie", cookie.encode()))
    if by_page:
        headers.append((b"content-type", b"text/html; charset=utf-8"))
        await _send(answer, 200, headers, leading_to(location).encode())
    else:
        await _send(answer, 303, [*headers, (b"location", location.encode())], b"")


def leading_to(address: str) -> str:
    """A page that leads to an address at once.

    >>> leading_to("/?a=1&b=2").splitlines()[2]
    '<meta http-equiv="refresh" content="0;url=/?a=1&amp;b=2">'
    """
    safe = html.escape(address)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>kiyome review</title>\n'
        f'<meta http-equiv="refresh" content="0;url={safe}">\n<a href="{safe}">Open the review</a></html>\n'
    )


async def _send(answer: Send, status: int, headers: list[Header], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await answer({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await answer({"type": "http.response.body", "body": body})
