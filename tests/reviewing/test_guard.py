"""Every route and method, asked from the wrong place: the list is made from the app, so none is forgotten."""

from itertools import product
from typing import Any

import pytest

from kiyome.reviewing.guard import MAX_BODY

HOST = "127.0.0.1:8642"
METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "",
)
BAD_HOSTS: list[list[str]] = [
    *([], [""], ["evil.com"], ["evil.com:8642"], [HOST, HOST], [HOST, "evil.com"], ["evil.com", HOST]),
    *(["localhost.evil.com"], ["127.0.0.1.nip.io"], ["127.0.0.1.evil.com:8642"], ["evil.com#127.0.0.1"]),
    *(
        ["evil@127.0.0.1"],
        ["127.0.0.1:8642@evil.com"],
        ["127.0.0.1:x"],
        ["127.0.0.1:999999"],
        ["0.0.0.0:8642"],
    ),
    *(
        ["localhost."],
        [" 127.0.0.1"],
        ["127.1"],
        ["2130706433"],
        ["[::]"],
        ["[::ffff:7f00:1]"],
        ["127.0.0.1,evil.com"],
    ),
    *(["127.0.0.1\x00"], ["10.0.0.1:8642"]),
]
"""All but our own names, once."""
FOREIGN = [
    [],
    [("sec-fetch-site", "cross-site")],
    [("sec-fetch-site", "same-site")],
    [("sec-fetch-site", "none")],
    [("sec-fetch-site", "")],
    [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
    [("sec-fetch-site", "cross-site"), ("origin", f"http://{HOST}")],
    [("origin", "null")],
    [("origin", "http://evil.com")],
    [("origin", "http://127.0.0.1:9999")],
    [("origin", f"http://{HOST}.evil.com")],
    [("origin", f"http://{HOST}"), ("origin", "http://evil.com")],
    [("origin", f"ftp://{HOST}")],
    [("referer", f"http://{HOST}/")],
]
"""What a change from elsewhere may say of its origin."""
PATHS = {"{row}": "0", "{name:path}": "main.js", "{name}": "main.js"}


def inner_routes(route: Any) -> list[Any]:
    """A route, or those of the router that newer FastAPI keeps as it was included."""
    return list(route.original_router.routes) if hasattr(route, "original_router") else [route]


def routes_of(guard: Any) -> list[str]:
    """Every path of an app, with something in place of its fields."""
    routes = [inner for route in guard.app.routes for inner in inner_routes(route)]
    paths = [route.path for route in routes]
    assert len(paths) >= 14, paths
    assert len(guard.app.openapi()["paths"]) == len(paths)
    for field, value in PATHS.items():
        paths = [path.replace(field, value) for path in paths]
    assert not any("{" in path for path in paths), "say in PATHS what stands for a new field"
    return [*paths, "/no/such/route"]


def test_a_foreign_host_gets_nowhere(app: Any, ask: Any) -> None:
    for path, method, hosts in product(routes_of(app), METHODS, BAD_HOSTS):
        headers = [
            *(("host", host) for host in hosts),
            ("sec-fetch-site", "same-origin"),
            ("x-csrf-token", ask.csrf),
        ]
        assert ask(app, method, path, headers=headers).status == 403, (path, method, hosts)


def test_methods_are_allowed_by_name(app: Any, ask: Any) -> None:
    for path, method in product(routes_of(app), METHODS):
        if method not in ("GET", "HEAD", "POST"):
            answer = ask(app, method, path, headers=[*ask.own, ("x-csrf-token", ask.csrf)])
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST"), (path, method)


def test_no_change_comes_from_elsewhere(app: Any, ask: Any, session: Any) -> None:
    kinds = ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "")
    body = b'{"key": "k", "reviewer": "Ann", "entries": [{"row": 0, "version": 0, "verdict": "keep"}]}'
    for path, origin, kind in product(routes_of(app), FOREIGN, kinds):
        headers = [("host", HOST), *origin, ("x-csrf-token", ask.csrf), ("content-type", kind)]
        assert ask(app, "POST", path, headers=headers, body=body).status == 403, (path, origin, kind)
    assert session.store.events_after() == []


@pytest.mark.parametrize("token", [None, "", "wrong", "csrf-", "undefined", "\xff"])
def test_no_change_comes_without_the_pages_token(app: Any, ask: Any, session: Any, token: str | None) -> None:
    for path in routes_of(app):
        said = [] if token is None else [("x-csrf-token", token)]
        doubled = [("x-csrf-token", ask.csrf), ("x-csrf-token", ask.csrf)]
        cookie = [("cookie", f"x-csrf-token={ask.csrf}")]
        for headers in (said, doubled, cookie):
            assert ask(app, "POST", path, headers=[*ask.own, *headers], body=b"{}").status == 403, path
    assert session.store.events_after() == []


def test_our_own_page_may_decide_with_or_without_fetch_metadata(app: Any, ask: Any) -> None:
    for number, origin in enumerate((("sec-fetch-site", "same-origin"), ("origin", f"http://{HOST}"))):
        act = {"row": number, "version": 0, "verdict": "keep"}
        sent = {"key": f"k{number}", "reviewer": "Ann", "entries": [act]}
        assert ask(app, "POST", "/api/decisions", headers=[("host", HOST), origin], send=sent).status == 200


def test_what_other_sites_ask_for_they_do_not_get(app: Any, ask: Any) -> None:
    for path, site in product(routes_of(app), ("cross-site", "same-site", "odd")):
        embedded = [("host", HOST), ("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]
        followed = [("host", HOST), ("sec-fetch-site", site), ("sec-fetch-mode", "navigate")]
        assert ask(app, "GET", path, headers=embedded).status == 403, path
        assert ask(app, "GET", path, headers=followed).status == (200 if path == "/" else 403), path


def test_every_answer_carries_the_headers_of_safety(app: Any, ask: Any) -> None:
    strangers = [("host", "evil.com")]
    for path, method, headers in product(
        routes_of(app), ("GET", "HEAD", "POST", "PUT"), (ask.own, strangers)
    ):
        answer = ask(app, method, path, headers=headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "cache-control" in answer.headers
        assert not [name for name in answer.headers if name.startswith("access-control")]
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert (
            "sandbox" in policy
            if path.startswith(("/photos/", "/thumbnails/"))
            else "frame-ancestors" in policy
        )


def test_get_changes_nothing(app: Any, ask: Any, session: Any) -> None:
    for path, method in product(routes_of(app), ("GET", "HEAD")):
        answer = ask(app, method, path, query="me=Ann&key=k&reviewer=Ann")
        assert answer.status < 500
        assert method == "GET" or answer.body == b""
    assert session.store.events_after() == []


TOKEN = "t" * 32


@pytest.fixture
def closed(session: Any, ask: Any) -> Any:
    """A review whose visitors must know a token."""
    return ask.guarded(session, token=TOKEN, cookie="kiyome-8642")


def test_nobody_comes_in_without_the_token(closed: Any, ask: Any) -> None:
    wrong = ["", "token=", "token=t", f"token={TOKEN}x", f"token={TOKEN[1:]}", "TOKEN=" + TOKEN, "token=%ff"]
    cookies = ["", "kiyome-8642=", f"kiyome-8642={TOKEN}", "kiyome-8642=x", f"kiyome-1={TOKEN}"]
    for path, method in product(routes_of(closed), ("GET", "HEAD", "POST")):
        headers = [*ask.own, ("x-csrf-token", ask.csrf)]
        for query in wrong:
            assert ask(closed, method, path, query=query, headers=headers).status == 401, (
                path,
                method,
                query,
            )
        for cookie in cookies:
            answer = ask(closed, method, path, headers=[*headers, ("cookie", cookie)])
            assert answer.status == 401, (path, method, cookie)
    for path in routes_of(closed)[1:]:
        if path != "/":  # in addresses of other things a token would stay in logs
            assert ask(closed, "GET", path, query=f"token={TOKEN}").status == 401, path


def test_the_token_becomes_a_cookie_that_is_not_the_token(closed: Any, ask: Any) -> None:
    answer = ask(closed, "GET", "/", query=f"view=grid&token={TOKEN}&row=7")
    assert (answer.status, answer.headers["location"]) == (303, "/?view=grid&row=7")
    cookie, *settings = answer.headers["set-cookie"].split("; ")
    assert set(settings) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert TOKEN not in str(answer)
    assert ask(closed, "GET", "/", query=f"token={TOKEN}").headers["location"] == "/"
    headers = [*ask.own, ("cookie", f"other=1; {cookie}")]
    assert ask(closed, "GET", "/api/review", headers=headers).status == 200
    sent = {"key": "k", "reviewer": "Ann", "entries": [{"row": 0, "version": 0, "verdict": "keep"}]}
    assert ask(closed, "POST", "/api/decisions", headers=headers, send=sent).status == 200


def test_who_came_by_a_link_is_led_on_by_the_page_itself(closed: Any, ask: Any) -> None:
    """A strict cookie goes along with no request of a way that another site began."""
    for site in ("cross-site", "same-site"):
        linked = [("host", HOST), ("sec-fetch-site", site), ("sec-fetch-mode", "navigate")]
        query = f"token={TOKEN}&search=%22%3E%3Cb%3E"
        answer = ask(closed, "GET", "/", query=query, headers=linked)
        assert (answer.status, "location" in answer.headers) == (200, False)
        assert answer.headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Strict")
        assert b'content="0;url=/?search=%22%3E%3Cb%3E"' in answer.body
        assert TOKEN not in str(answer)
        for query in ("", "token=wrong-token-of-mine"):  # the cookie may be there, and comes from here on
            answer = ask(closed, "GET", "/", query=query, headers=linked)
            assert answer.status == 200
            assert f'content="0;url=/?{query}"'.replace('/?"', '/"').encode() in answer.body
            assert "set-cookie" not in answer.headers


def test_a_redirect_stays_on_this_server(closed: Any, ask: Any) -> None:
    for query in (
        f"token={TOKEN}&//evil.com",
        f"//evil.com&token={TOKEN}",
        f"a=%0d%0aSet-Cookie:x=1&token={TOKEN}",
    ):
        answer = ask(closed, "GET", "/", query=query)
        assert answer.status == 303
        assert answer.headers["location"].startswith(("/?", "/"))
        assert not answer.headers["location"].startswith("//")
        assert "\n" not in answer.headers["location"]


def test_addresses_may_be_hosts_where_the_server_listens_everywhere(session: Any, ask: Any) -> None:
    everywhere = ask.guarded(session, any_address=True)
    for host, status in {
        "10.1.2.3:8642": 200,
        "[fe80::1]": 200,
        "evil.com": 403,
        "0.0.0.0": 403,
        "[::]": 403,
    }.items():
        assert ask(everywhere, "GET", "/api/review", headers=[("host", host)]).status == status, host


@pytest.mark.parametrize(
    "length", [str(MAX_BODY + 1), "200000000", "9" * 400, "-1", "1e3", "x", "٣", "+5", ""]
)
def test_a_body_that_says_it_is_long_is_not_read(app: Any, ask: Any, length: str) -> None:
    if not length.isascii():
        length = length.encode().decode("latin-1")
    headers = [*ask.own, ("x-csrf-token", ask.csrf), ("content-length", length)]
    status = ask(app, "POST", "/api/decisions", headers=headers, body=b"{}").status
    assert status == (422 if length == "" else 413)


def test_a_body_that_lies_about_its_length_is_cut(app: Any, ask: Any) -> None:
    headers = [*ask.own, ("x-csrf-token", ask.csrf), ("content-length", "2")]
    assert ask(app, "POST", "/api/decisions", headers=headers, body=b"x" * (MAX_BODY + 1)).status == 413


def test_a_long_head_is_refused(app: Any, ask: Any) -> None:
    assert ask(app, "GET", "/api/queue", query="search=" + "x" * 20_000).status == 431
    assert ask(app, "GET", "/api/queue", headers=[*ask.own, ("x", "y" * 20_000)]).status == 431


def test_nothing_but_http_is_spoken(app: Any) -> None:
    import asyncio

    said: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    asyncio.run(app({"type": "websocket", "path": "/", "headers": []}, None, send))
    assert said == [{"type": "websocket.close", "code": 1008}]
