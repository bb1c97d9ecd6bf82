"""Checks on every request before a route sees it, and security headers on every answer.

request ─► known Host ─► GET, HEAD, POST ─► own origin ─► token ─► CSRF header ─► size and time ─► route
answer  ◄─ policy, nosniff, same origin only, no caching by default ◄────────────────────────────────┘

The guard wraps the whole app, so a new route or method is protected before it is written. Methods are allowed
by name: a list of forbidden ones misses one (Ray, CVE-2026-27482). Host is checked by name against
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
"""Longest time for a body to arrive."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""For the page: files of this server only, nothing inline, and no text that becomes markup."""

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
    """The conditions that a request has to meet."""

    hosts: frozenset[str]
    """Names allowed in Host, in lower case, without a port."""
    any_address: bool = False
    """Whether IP addresses are allowed there, too: DNS rebinding needs a name."""
    csrf: str
    """The value of X-CSRF-Token in each change by the page."""
    token: str | None = None
    """The token of visitors; None lets in everyone who reaches the server."""
    cookie_key: bytes | None = None
    """The key of the cookie of visitors; the token if not given."""
    cookie: str = "kiyome"
    """Browsers share cookies between all ports of a host, so the name contains the port."""
    max_body: int = MAX_BODY

    @property
    def cookie_value(self) -> str:
        """Proof that a browser knew the token, without the token."""
        key = self.cookie_key or (self.token or "").encode()
        return hmac.new(key, b"kiyome review", hashlib.sha256).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An error answer of the guard, in three parts."""

    status: int
    problem: str
    expected: str
    remedy: str
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """The head of a request, which the checks read."""

    method: str
    path: str
    query: str
    headers: dict[str, list[str]]
    """Every value of each name, so that a second Host is seen."""

    def only(self, name: str) -> str | None:
        """Return the value of a header that occurs once; None where it is absent or repeated."""
        values = self.headers.get(name, [])
        return values[0] if len(values) == 1 else None


def request_of(scope: MutableMapping[str, Any]) -> Request:
    """Return the head of an ASGI request.

    >>> scope = {"method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"a")] * 2}
    >>> request_of(scope).only("host") is None
    True
    """
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    query = scope["query_string"].decode("latin-1")
    return Request(method=scope["method"], path=scope["path"], query=query, headers=headers)


def refusal_of(request: Request, rules: Rules) -> Refusal | None:
    """Return the refusal by the first check that fails; None where the request may pass.

    >>> rules = Rules(hosts=frozenset({"localhost"}), csrf="secret")
    >>> request = Request(method="GET", path="/", query="", headers={"host": ["evil.com"]})
    >>> refusal_of(request, rules).status
    403
    """
    return next((refusal for check in CHECKS if (refusal := check(request, rules))), None)


def host_refusal(request: Request, rules: Rules) -> Refusal | None:
    """Check that Host is a name of this server."""
    match = _HOST.fullmatch(request.only("host") or "")
    name = match[1].lower() if match else ""
    if name in rules.hosts or (rules.any_address and _is_address(name)):
        return None
    return Refusal(
        status=403,
        problem="The request has another Host, or none.",
        expected="Expected a name of this server.",
        remedy="Open the address that 'kiyome review' printed.",
    )


def method_refusal(request: Request, rules: Rules) -> Refusal | None:  # noqa: ARG001 - every check takes both
    """Check the method."""
    if request.method in ("GET", "HEAD", "POST"):
        return None
    return Refusal(
        status=405,
        problem="The method is not allowed.",
        expected="Expected GET, HEAD or POST.",
        remedy="Use one of these.",
        headers=((b"allow", b"GET, HEAD, POST"),),
    )


def origin_refusal(request: Request, rules: Rules) -> Refusal | None:  # noqa: ARG001
    """Check that no other site sends the request; a link to the page itself may be followed."""
    site = request.headers.get("sec-fetch-site")
    if request.method == "POST":
        own = request.only("sec-fetch-site") == "same-origin" if site else _own_origin(request)
    else:
        own = not site or request.only("sec-fetch-site") in ("same-origin", "none") or follows_link(request)
    if own:
        return None
    return Refusal(
        status=403,
        problem="The request comes from another site, or from an unknown origin.",
        expected="Expected the review page of this server.",
        remedy="Open the review page itself; scripts send an Origin header that matches Host.",
    )


def token_refusal(request: Request, rules: Rules) -> Refusal | None:
    """Check the token in the address of the page, or the cookie that replaced it."""
    if rules.token is None or _same(_cookie(request, rules.cookie), rules.cookie_value):
        return None
    if token_in(request) is not None and _same(token_in(request) or "", rules.token):
        return None
    return Refusal(
        status=401,
        problem="The request has no token, or another one.",
        expected="Expected the token of this review.",
        remedy="Open the whole address that 'kiyome review' printed, with its token.",
    )


def csrf_refusal(request: Request, rules: Rules) -> Refusal | None:
    """Check that a change has the token that only our page can read."""
    if request.method != "POST" or _same(request.only("x-csrf-token") or "", rules.csrf):
        return None
    return Refusal(
        status=403,
        problem="The request has another X-CSRF-Token, or none.",
        expected="Expected the one of this server's page.",
        remedy="Reload the page: the server has restarted.",
    )


def size_refusal(request: Request, rules: Rules) -> Refusal | None:
    """Check the size of the head, and the length that the body announces."""
    values = (value for each in request.headers.values() for value in each)
    if len(request.path) + len(request.query) + sum(map(len, values)) > MAX_HEAD:
        return Refusal(
            status=431,
            problem="The head of the request is too long.",
            expected=f"Expected at most {MAX_HEAD:,} characters.",
            remedy="Shorten it.",
        )
    length = request.only("content-length") or "0"
    small = length.isascii() and length.isdigit() and int(length[:20]) <= rules.max_body
    return None if small else _too_large(rules)


CHECKS = (host_refusal, method_refusal, origin_refusal, token_refusal, csrf_refusal, size_refusal)
"""In this order: a stranger learns only about the first."""


def follows_link(request: Request) -> bool:
    """Return whether a link of another site leads to the page: browsers then send no strict cookie."""
    site, mode = request.headers.get("sec-fetch-site"), request.only("sec-fetch-mode")
    is_page = request.path == "/" and request.method in ("GET", "HEAD")
    return is_page and mode == "navigate" and site not in (None, ["same-origin"], ["none"])


def token_in(request: Request) -> str | None:
    """Return the token in the address of the page."""
    if request.path != "/" or request.method != "GET":
        return None
    return dict(parse_qsl(request.query)).get("token")


@dataclass(frozen=True, kw_only=True)
class Guard:
    """An ASGI app that passes only requests which meet the rules to another one."""

    app: App
    rules: Rules

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # no route uses anything else
            return await send({"type": "websocket.close", "code": 1008})
        request = request_of(scope)
        answer = _with_headers(send, request)
        refusal, linked = refusal_of(request, self.rules), follows_link(request)
        if refusal and not (linked and refusal.status == 401):
            return await _refuse(answer, request, refusal)
        has_token = not refusal and self.rules.token is not None and token_in(request) is not None
        if has_token or linked:
            return await _redirect(answer, request, self.rules if has_token else None, by_page=linked)
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
    """Compare in constant time, so that nobody learns the secret letter by letter."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _too_large(rules: Rules) -> Refusal:
    return Refusal(
        status=413,
        problem="The request is too long.",
        expected=f"Expected at most {rules.max_body // 2**20} MiB.",
        remedy="Send fewer decisions at once.",
    )


async def _whole_body(receive: Receive, rules: Rules) -> bytes | Refusal:
    """Return the body, or a refusal where it is too long or too late, whatever the head says."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return _late("It broke off.")
                body += message.get("body", b"")
                if len(body) > rules.max_body:
                    return _too_large(rules)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return _late(f"It was not whole after {BODY_SECONDS:.0f} s.")


def _late(reason: str) -> Refusal:
    problem = "The request did not arrive whole."
    return Refusal(status=408, problem=problem, expected=reason, remedy="Send it again.")


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


def _with_headers(send: Send, request: Request) -> Send:
    """Add the security headers to every answer, and remove the body from the answer to HEAD."""
    shown = request.path.startswith(("/photos/", "/thumbnails/"))
    policy = PAGE_POLICY if request.path == "/" else PHOTO_POLICY if shown else DATA_POLICY
    ours = ((b"content-security-policy", policy.encode()), *ALWAYS)

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in ours}
            kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in names]
            if not any(name.lower() == b"cache-control" for name, _ in kept):
                kept.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*kept, *ours]}
        elif request.method == "HEAD":
            message = {**message, "body": b""}
        await send(message)

    return send_with_headers


async def _refuse(answer: Send, request: Request, refusal: Refusal) -> None:
    """Send the reason: as JSON to programs, as text to people who open the page."""
    parts = {"problem": refusal.problem, "expected": refusal.expected, "remedy": refusal.remedy}
    if request.path == "/":
        kind, body = b"text/plain; charset=utf-8", f"{' '.join(parts.values())}\n"
    else:
        kind, body = b"application/json", json.dumps({"error": parts})
    # closed, as the rest of the body would be read as the next request
    headers = [(b"content-type", kind), (b"connection", b"close"), *refusal.headers]
    await _send(answer, refusal.status, headers, body.encode())


async def _redirect(answer: Send, request: Request, rules: Rules | None, *, by_page: bool) -> None:
    """Redirect to the same page; with `rules`, a cookie replaces the token, which the history would show.

    A link of another site is redirected by a page of ours, so that the browser sends its cookies from there.
    """
    pairs = [pair for pair in parse_qsl(request.query) if rules is None or pair[0] != "token"]
    location, headers = f"/?{urlencode(pairs)}".rstrip("?"), []
    if rules is not None:
        cookie = f"{rules.cookie}={rules.cookie_value}; Path=/; HttpOnly; SameSite=Strict"
        headers.append((b"set-cookie", cookie.encode()))
    if by_page:
        headers.append((b"content-type", b"text/html; charset=utf-8"))
        await _send(answer, 200, headers, redirect_page(location).encode())
    else:
        await _send(answer, 303, [*headers, (b"location", location.encode())], b"")


def redirect_page(address: str) -> str:
    """Return a page that redirects to an address at once.

    >>> redirect_page("/?a=1&b=2").splitlines()[2]
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
