"""What went wrong, in the form in which each API says it."""

from collections.abc import Mapping

from starlette.responses import JSONResponse

PHOTOPRISM, OLLAMA, OPENAI = "/api/v1/", "/api/", "/v1/"  # what the APIs' paths begin with
OPENAI_CODES = {401: "invalid_api_key"}


def error_response(path: str, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A status and a sentence, in the form of the API that a path belongs to."""
    if path.startswith(OPENAI):
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": sentence, "type": kind, "param": None, "code": OPENAI_CODES.get(status)}
        return JSONResponse({"error": error}, status, headers)
    if path.startswith(PHOTOPRISM):
        return JSONResponse({"code": status, "error": sentence}, status, headers)
    return JSONResponse({"error": sentence}, status, headers)
