"""HEAD: what GET would answer, without its body (RFC 9110, 9.3.2), at every address that takes GET."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FILES_BY_NAME = "http.response.pathsend"  # asgi.readthedocs.io/en/latest/extensions.html#path-send
ASKED = "city_platform.head"  # in the scope of what was a HEAD: an address that only reads would not do for it


class HeadAsGet:
    """ASGI middleware. Routes know GET alone, and so the API's description names each operation once.

    A file is named by whoever answers with it, not read: there is nobody to send it to. A Range is for GET alone
    (RFC 9110, 14.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == _FILES_BY_NAME:
                await send({"type": "http.response.body", "body": b""})
            elif message["type"] == "http.response.body":
                await send({**message, "body": b""})
            else:
                await send(message)

        as_get = {
            **scope,
            "method": "GET",
            ASKED: True,
            "headers": [(name, value) for name, value in scope["headers"] if name != b"range"],
            "extensions": {**(scope.get("extensions") or {}), _FILES_BY_NAME: {}},
        }
        await self._app(as_get, receive, without_body)
