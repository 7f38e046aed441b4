"""HEAD: what GET would answer, without its body (RFC 9110, 9.3.2), at every address that takes GET."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ASKED = "city_platform.head"  # in the scope of what was a HEAD: an address that only reads would not do for it


class HeadAsGet:
    """ASGI middleware. Routes know GET alone, and so the API's description names each operation once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET", ASKED: True}, receive, without_body)
