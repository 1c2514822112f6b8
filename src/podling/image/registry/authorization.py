"""Who we are to a registry: challenges read, Basic sent, Bearer tokens fetched and kept while they last."""

from __future__ import annotations

import binascii
import time
from _thread import allocate_lock

from podling import jsontext
from podling.errors import RegistryError, Unauthorized
from podling.image.jsonfields import Fields, load_object
from podling.image.registry.replies import reply_error
from podling.record import Record
from podling.values import urls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from podling.image.registry.connection import Answer, Connection

    class Credentials(Protocol):
        """A login; an identity token stands for a user and a password."""

        @property
        def username(self) -> str:
            """The user's name."""

        @property
        def password(self) -> str:
            """The password."""

        @property
        def identity_token(self) -> str:
            """An OAuth refresh token, or ""."""


CHALLENGE_LIMIT = 16 << 10
TOKEN_LIMIT = 1 << 20
SHORTEST_LIFE = 60  # seconds that a token is taken to last at least, as Docker does
_SEPARATORS = " \t,="


class Challenge(Record):
    """What a registry asks for: ``scheme`` basic or bearer in lower case, and its parameters."""

    scheme: str
    parameters: dict[str, str] = {}


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges in ``WWW-Authenticate`` headers; what breaks the grammar is left out."""
    found: list[Challenge] = []
    for header in headers:
        _parse_header(header[:CHALLENGE_LIMIT], found)
    return found


def _parse_header(text: str, found: list[Challenge]) -> None:
    """Several challenges may stand in one header: a word that no ``=`` follows begins the next."""
    position = 0
    scheme, parameters = "", {}
    while position < len(text):
        if text[position] in _SEPARATORS:
            position += 1
            continue
        word, position = _word(text, position)
        if not word:
            break
        after = position
        while after < len(text) and text[after] in " \t":
            after += 1
        if after < len(text) and text[after] == "=" and scheme:
            value, position = _value(text, after + 1)
            parameters[word.lower()] = value
            continue
        if scheme:
            found.append(Challenge(scheme=scheme, parameters=parameters))
        scheme, parameters = word.lower(), {}
    if scheme:
        found.append(Challenge(scheme=scheme, parameters=parameters))


def _word(text: str, position: int) -> tuple[str, int]:
    end = position
    while end < len(text) and text[end] not in " \t,=\"":
        end += 1
    return text[position:end], end


def _value(text: str, position: int) -> tuple[str, int]:
    """(a parameter's value, where it ends); quoted values may have escaped characters."""
    while position < len(text) and text[position] in " \t":
        position += 1
    if text[position : position + 1] != '"':
        return _word(text, position)
    position += 1
    parts = []
    while position < len(text) and text[position] != '"':
        position += text[position] == "\\"
        parts.append(text[position : position + 1])
        position += 1
    return "".join(parts), position + 1


class Authorization:
    """The logins and tokens for one registry; threads may share it."""

    def __init__(self, connection: Connection, registry: str, credentials: Credentials | None) -> None:
        self.connection = connection
        self.registry = registry
        self.credentials = credentials
        self.challenges: list[Challenge] = []
        self._secure = False
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}  # scopes -> (token, when it ends, monotonic clock)
        self._wider: dict[tuple[str, ...], tuple[str, ...]] = {}  # scopes -> what the registry asked for instead
        self._lock = allocate_lock()

    def learn(self, answer: Answer, *, secure: bool) -> None:
        """Take the challenges of an answer with status 401 that came over TLS, or not."""
        self.challenges = parse_challenges(answer.headers("www-authenticate"))
        self._secure = secure

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """What to send as ``Authorization`` for these scopes (``repository:NAME:pull``); None: nothing."""
        for challenge in self.challenges:
            if challenge.scheme == "bearer":
                return f"Bearer {self._token(challenge, self._wider.get(scopes, scopes))}"
            if challenge.scheme == "basic" and self.credentials is not None and self.credentials.username:
                return basic(self.credentials)
        return None

    def refresh(self, answer: Answer, scopes: tuple[str, ...]) -> bool:
        """Learn from a 401 to a request with these scopes; whether trying it again can help."""
        challenges = parse_challenges(answer.headers("www-authenticate"))
        bearer = next((challenge for challenge in challenges if challenge.scheme == "bearer"), None)
        is_news = bool(challenges) and not self.challenges
        if challenges:
            self.challenges = challenges
        if bearer is None:
            return is_news
        with self._lock:
            self._tokens.pop(self._wider.get(scopes, scopes), None)
            asked = bearer.parameters.get("scope", "").split()
            self._wider[scopes] = tuple(dict.fromkeys((*scopes, *asked)))
        return True

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        with self._lock:  # several downloads need the same token: one fetches it
            token, end = self._tokens.get(scopes, ("", 0.0))
            if time.monotonic() < end:
                return token
            token, life = self._fetch(challenge, scopes)
            self._tokens[scopes] = (token, time.monotonic() + 0.9 * max(SHORTEST_LIFE, life))
            return token

    def _fetch(self, challenge: Challenge, scopes: tuple[str, ...]) -> tuple[str, int]:
        """(a token, its life in seconds) from the registry's token server."""
        realm = challenge.parameters.get("realm", "")
        if urls.split(realm).scheme not in ("http", "https"):
            raise RegistryError(f"registry {self.registry} names no token server in its challenge (realm {realm[:100]!r})")
        login = self.credentials
        if login is not None and self._secure and realm.startswith("http:") and not self.connection.insecure:
            raise RegistryError(f"registry {self.registry} wants the password sent without TLS, to {realm[:100]}",
                                hint="use --tls-verify=false if that is meant")
        query = [("service", challenge.parameters["service"])] if challenge.parameters.get("service") else []
        query += [("scope", scope) for scope in scopes]
        if login is not None and login.identity_token:
            answer = self._post(realm, login.identity_token, query)
        else:
            answer = self._get(realm, login, query)
        if answer.status != 200:
            raise self._refusal(answer)
        body = answer.body(TOKEN_LIMIT)
        fields = Fields(load_object(body, "the token server's answer", limit=TOKEN_LIMIT), "the token server's answer")
        token = fields.text("token") or fields.text("access_token")
        if not token or not token.isascii() or not token.isprintable():
            raise RegistryError(f"the token server of {self.registry} ({realm[:100]}) sent no token")
        return token, fields.integer("expires_in")

    def _get(self, realm: str, login: Credentials | None, query: list[tuple[str, str]]) -> Answer:
        headers = {}
        if login is not None and login.username:
            query = [("account", login.username), *query]
            headers["Authorization"] = basic(login)
        separator = "&" if "?" in realm else "?"
        return self.connection.send("GET", f"{realm}{separator}{urls.query(query)}" if query else realm, headers=headers)

    def _post(self, realm: str, identity_token: str, query: list[tuple[str, str]]) -> Answer:
        scopes = " ".join([value for name, value in query if name == "scope"])
        form = [("grant_type", "refresh_token"), ("client_id", "podling"), ("refresh_token", identity_token), ("scope", scopes),
                *[pair for pair in query if pair[0] == "service"]]
        return self.connection.send("POST", realm, headers={"Content-Type": "application/x-www-form-urlencoded"},
                                    body=urls.query(form).encode())

    def _refusal(self, answer: Answer) -> RegistryError:
        if answer.status not in (401, 403):
            return reply_error(answer, self.registry)
        reason = _oauth_words(answer.body(TOKEN_LIMIT)) or "unauthorized"
        return Unauthorized(f"unable to retrieve auth token: invalid username/password: {reason}",
                            hint=f"podling login {self.registry}")


def basic(credentials: Credentials) -> str:
    """The header of HTTP's Basic scheme."""
    return "Basic " + binascii.b2a_base64(f"{credentials.username}:{credentials.password}".encode(), newline=False).decode()


def _oauth_words(body: bytes) -> str:
    """What a token server says of a refusal: in its own form, Docker's, or OAuth's."""
    try:
        value = jsontext.loads(body)
    except ValueError:
        return ""
    if not isinstance(value, dict):
        return ""
    errors = value.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        value = errors[0]
    for name in ("details", "message", "error_description", "error"):
        if isinstance(value.get(name), str):
            return str(value[name])[:300]
    return ""
