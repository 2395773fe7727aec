"""What isn't shown of jobs, however they have it."""

from __future__ import annotations

import collections
import dataclasses
import json
import pickle
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sample
import transaction
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping

import zodbjobs
from zodbjobs import insights, redaction
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import ISecret
from zodbjobs.redaction import HIDDEN, Redactor, is_secret_name
from zodbjobs.testing import run_jobs

WORD = "hunter2"


@dataclasses.dataclass
class Login:
    user: str
    password: str
    inner: Any = None
    unseen: str = dataclasses.field(default=WORD, repr=False)


Row = collections.namedtuple("Row", ["user", "token"])


class Rude:
    """Its repr has a password."""

    def __repr__(self) -> str:
        return f"<Rude password='{WORD}' other=1>"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError(WORD)


class Holder:
    def __init__(self, secret: Any) -> None:
        self.secret_one = secret


def sign_in(user: str, password: str, *tokens: str) -> None:
    raise ValueError(f"{user} can't sign in with {password}: password={password}")


def leak(secret: zodbjobs.Secret, rows: Any) -> str:
    zodbjobs.local.get_job()
    sample.log.warning("calling with %s", secret.value)
    zodbjobs.local.set_progress(5, f"with {secret.value}")
    zodbjobs.local.set_live_annotation("url", f"http://x/?q={secret.value}")
    zodbjobs.local.set_live_annotation("token", "abc")
    zodbjobs.local.set_live_annotation("rows", (1, "a"))
    if rows is None:
        try:
            raise KeyError(secret.value)
        except KeyError as error:
            raise ValueError(f"no {secret.value}") from error
    return f"used {secret.value}"


@pytest.fixture
def registered() -> Iterator[list[Any]]:
    """Functions that a test has registered; they are taken out at its end."""
    undo: list[Any] = []
    yield undo
    for each in undo:
        each()


# By name


@pytest.mark.parametrize(
    "name",
    [
        *("password", "PASSWORD", "db_password", "passwordHash", "userpassword", "old-password-2"),
        *("passwd", "pwd", "passphrase", "Passwort", "kennwort", "token", "accessToken"),
        *("X-Auth-Token", "csrftoken", "secret", "client_secret", "api_key", "apiKey", "APIKEY"),
        *("x-api-key", "Authorization", "proxy-authorization", "Set-Cookie", "cookies", "auth"),
        *("credentials", "private_key", "aws_access_key_id", "SESSION_ID", "session key", "jwt"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "name", "key", "keys", "secretary", "author", "authority", "tokenizer", "passing"),
        *("session", "primary_key", "cookiecutter", "compass", "accession", None, 5),
    ],
)
def test_other_names(name: Any) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"password": WORD, "user": "ada"}, "{'password': ***, 'user': 'ada'}"),
        ({"a": [{"b": ({"token": WORD},)}]}, "{'a': [{'b': ({'token': ***},)}]}"),
        ({"password": {"old": WORD}}, "{'password': ***}"),
        ({"password": None}, "{'password': None}"),
        (Login("ada", WORD), "Login(user='ada', password=***, inner=None)"),
        (Login("ada", WORD, Login("b", WORD)), None),
        (Row("ada", WORD), "Row(user='ada', token=***)"),
        (PersistentMapping({"password": WORD}), "{'password': ***}"),
        (PersistentList([{"password": WORD}]), "[{'password': ***}]"),
        (collections.OrderedDict(password=WORD), None),
        (collections.defaultdict(list, password=[WORD]), None),
        ([("user", "ada"), ("token", WORD)], "[('user', 'ada'), ('token', ***)]"),
        ([["Cookie", WORD]], "[['Cookie', ***]]"),
        (Rude(), "<Rude password=*** other=1>"),
        (f"mysql -u x --password {WORD} db", "'mysql -u x --password *** db'"),
        (f"password={WORD}&user=ada", "'password=***&user=ada'"),
        (zodbjobs.Secret(WORD), "***"),
        ([zodbjobs.Secret({"a": WORD})], "[***]"),
        ({zodbjobs.Secret(WORD): 1}, "{***: 1}"),
        (frozenset({zodbjobs.Secret(WORD)}), "frozenset({***})"),
        (f"token: {WORD}".encode(), None),
        ([1, 2.5, None, True, "x", (1,), (), set(), {3}], None),
    ],
)
def test_values(value: Any, shown: str | None) -> None:
    found = Redactor().show(value, 1_000)
    assert WORD not in found
    if shown is not None:
        assert found == shown


@pytest.mark.parametrize(
    "value",
    [
        *(1, 2.5, None, True, "x", "it's", 'a "b"', (1,), (1, 2), (), set(), {3}, frozenset()),
        *(frozenset({1}), [], {}, {"a": [1, {"b": ()}]}, b"x", 1j, range(3), {1: 2, None: "x"}),
    ],
)
def test_what_is_no_secret_is_shown_as_ever(value: Any) -> None:
    assert Redactor().show(value, 1_000) == repr(value)
    assert Redactor().value(value) == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"password={WORD}", "password=***"),
        (f"password = '{WORD} and more', x", "password = ***, x"),
        (f'{{"password": "{WORD}", "a": 1}}', '{"password": ***, "a": 1}'),
        (f"{{'api_key': b'{WORD}'}}", "{'api_key': ***}"),
        (f"os.environ['DB_PASSWORD'] = '{WORD}'", "os.environ['DB_PASSWORD'] = ***"),
        (f'{{\\"password\\": \\"{WORD} x\\"}}', None),
        (f"Authorization: Bearer {WORD}.abc", "Authorization: ***"),
        (f"Authorization: Basic {WORD}==\nHost: x", "Authorization: ***\nHost: x"),
        (f"Cookie: a={WORD}; b={WORD}\nHost: x", "Cookie: ***\nHost: x"),
        (f"sent Bearer {WORD}abcdef to x", "sent Bearer *** to x"),
        (f"postgres://me:{WORD}@host/db", "postgres://me:***@host/db"),
        (f"postgres://me:{WORD}@x@host/db", "postgres://me:***@host/db"),
        (f"passwords=['a', '{WORD}'], n=1", "passwords=***, n=1"),
        (f"secret=({WORD}, [1, ')'], {{'a': 2}}) x", "secret=*** x"),
        (f"tokens: [{WORD}", "tokens: ***"),
        (f"<a><password>{WORD}</password></a>", "<a><password>***</password></a>"),
        (f"error: token={WORD}", "error: token=***"),
        (f"api key: {WORD}.", "api key: ***"),
        (f"--api-key={WORD} x", "--api-key=*** x"),
        (f"-----BEGIN RSA PRIVATE KEY-----\n{WORD}\n-----END RSA PRIVATE KEY-----x", "***x"),
        (f"-----BEGIN PRIVATE KEY-----\n{WORD}", "***"),
        (f"password='it\\'s {WORD}' x", "password=*** x"),
        (f"password='{WORD}", "password=***"),
        (f'token=""; password="{WORD}"', None),
        (f"[('password', '{WORD}'), ('n', 1)]", "[('password', ***), ('n', 1)]"),
        (f"<field name='a' password='{WORD}'>", "<field name='a' password=***>"),
        (f"user=ada password={WORD} n=1", "user=ada password=*** n=1"),
    ],
)
def test_texts(text: str, shown: str | None) -> None:
    found = Redactor().text(text)
    assert WORD not in found
    if shown is not None:
        assert found == shown
    assert Redactor().text(found) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "nothing", "KeyError: 'password'", "password=None", "the secretary: Ada", "key: 5"),
        *("https://host:8080/path?x=1", "a::b", "authors=3", 'File "/app/token.py", line 3'),
    ],
)
def test_texts_without_secrets(text: str) -> None:
    assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "-", "password", "password=", "'", '"', "\\", "token='", "[", "password=[", "://"),
        *("://a:", "<a ", "<password>", "Bearer ", "-----BEGIN PRIVATE KEY-----", "a ", "--a "),
        *("password: ", "\n", "api ", "api-", "token=\\'", 'token=("', "{'a': \"", "_", "=", ":"),
    ],
)
def test_a_long_text_takes_time_in_proportion(piece: str) -> None:
    """By processor time, and far from a bound that only a quadratic search can break."""
    text = piece * (200_000 // len(piece))
    began = time.thread_time()
    Redactor().text(text)
    assert time.thread_time() - began < 10


def test_texts_of_chance_never_raise() -> None:
    draw = random.Random(7)
    pieces = ["password", "=", ":", "'", '"', "\\", "[", "]", "(", "{", " ", "\n", "a", "://", "@"]
    for _ in range(3_000):
        Redactor().text("".join(draw.choices(pieces, k=30)))


def test_what_cannot_be_shown() -> None:
    assert Redactor().show(Broken(), 100) == "(Broken that can't be shown: RuntimeError)"
    assert Redactor().show([Broken()], 100) == "(list that can't be shown: RuntimeError)"
    loop: list[Any] = []
    loop.append(loop)
    assert "..." in Redactor().show(loop, 1_000)


def test_a_long_value_is_cut() -> None:
    assert Redactor().show("x" * 20, 10) == "'xxxxxxxxx... (22 characters)"
    assert Redactor().show(list(range(1_000_000)), 10) == "[0, 1, 2, ... (and more)"
    assert (
        Redactor([zodbjobs.Secret("abcdef")]).show("xxxxabcdef", 8) == "'xxxx***... (9 characters)"
    )


# By Secret


def test_a_secret() -> None:
    secret = zodbjobs.Secret(WORD)
    assert (repr(secret), str(secret), f"{secret}") == ("***", "***", "***")
    assert secret.value == WORD
    assert secret == zodbjobs.Secret(WORD) != zodbjobs.Secret("other")
    assert len({secret, zodbjobs.Secret(WORD)}) == 1
    assert pickle.loads(pickle.dumps(secret)) == secret
    assert ISecret.providedBy(secret)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc'def", "found abc'def here"),
        ("abc'def", f"found {'abc' + chr(39) + 'def'!r} here"),
        ('a"b\\c', json.dumps('a"b\\c')),
        ("a b&c", "x?q=a%20b%26c"),
        ("a b&c", "x?q=a+b%26c"),
        ("änö1", json.dumps("änö1")),
        (b"bytes-1", "b'bytes-1'"),
        (12345678, "id 12345678"),
        ("line one is long\nline two is long", "at line two is long"),
        ("ab", "code ab."),
    ],
)
def test_the_value_of_a_secret_in_texts(value: Any, text: str) -> None:
    found = Redactor([zodbjobs.Secret(value)]).text(text)
    assert HIDDEN in found
    for part in str(value).splitlines():
        assert part not in found


def test_a_short_secret_is_no_part_of_words() -> None:
    redactor = Redactor([zodbjobs.Secret("ab"), zodbjobs.Secret(""), zodbjobs.Secret(" ")])
    assert redactor.text("about ab: cab b") == "about ***: cab b"


@pytest.mark.parametrize(
    "holder",
    [
        zodbjobs.Secret(WORD),
        [zodbjobs.Secret(WORD)],
        {"a": ({zodbjobs.Secret(WORD)},)},
        Holder([zodbjobs.Secret(WORD)]),
        Login("ada", zodbjobs.Secret(WORD)),  # type: ignore[arg-type]
        PersistentMapping({"a": zodbjobs.Secret(WORD)}),
    ],
)
def test_where_a_secret_is_found(holder: Any) -> None:
    assert Redactor([1, holder]).text(f"with {WORD}.") == "with ***."


@pytest.mark.parametrize("rows", [None, 1])
def test_a_job_with_a_secret(db: Any, queue: Any, rows: Any) -> None:
    job = queue.put(zodbjobs.Job(leak, zodbjobs.Secret("s3cret'value"), rows))
    transaction.commit()
    with zodbjobs.runtime.context.logs_are_kept():
        run_jobs(db)
    transaction.begin()
    assert job.log_lines
    details = insights.job_details(job)
    told = json.dumps(details.as_json())
    assert "s3cret" not in told
    assert details.arguments == ("***", repr(rows))
    assert details.annotations["url"] == "http://x/?q=***"
    assert details.annotations["token"] == "***"
    assert details.annotations["rows"] == (1, "a")
    assert details.annotations["percent"] == 5
    assert details.message == "with ***"
    assert details.log[0].endswith("calling with ***")
    if rows is None:
        assert details.failure == "ValueError: no ***"
        assert "KeyError" in (details.traceback or "")
        assert details.past_attempts[0].failure == "ValueError: no ***"
    else:
        assert details.result == '"used ***"'
    assert list(insights.list_jobs(db.open(), text="s3cret")) == []
    (row,) = insights.list_jobs(db.open())
    assert "s3cret" not in json.dumps(row.as_json())
    assert "s3cret" not in repr(job)


def test_arguments_have_the_names_of_parameters(db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sign_in, "ada", "hunter3", "t1", "t2"))
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    details = insights.job_details(job)
    assert details.arguments == ("'ada'", "***", "***", "***")
    assert details.failure is not None
    assert "password=***" in details.failure


def test_the_repr_of_a_job() -> None:
    job = zodbjobs.Job(sign_in, {"token": WORD}, password=WORD)
    assert repr(job) == (
        "<zodbjobs.stored.job.Job (not stored): "
        f"{__name__}:sign_in({{'token': ***}}, password=***)>"
    )


def test_the_repr_of_a_job_has_the_names_of_parameters() -> None:
    """Errors have it, and pages have errors."""
    job = zodbjobs.Job(sign_in, "ada", WORD, WORD, "t2")
    assert repr(job).endswith(":sign_in('ada', ***, ***, ***)>")
    missing = zodbjobs.Job(len, 1)
    missing._call = "there_is_no_such_module:function"
    assert repr(missing).endswith("there_is_no_such_module:function(1)>")


# Many secrets, and large ones


def test_the_texts_in_a_secret() -> None:
    for value in (
        {"user": "u", "word": WORD},
        [1, [WORD]],
        ("x", WORD.encode()),
        Login("u", WORD),
    ):
        assert Redactor([zodbjobs.Secret(value)]).text(f"u: {WORD} 1") == "u: *** 1"


def test_names_that_are_bytes() -> None:
    headers = {b"Authorization": WORD, b"accept": "text/html"}
    assert Redactor().show(headers, 100) == "{b'Authorization': ***, b'accept': 'text/html'}"
    assert WORD not in Redactor().show(list(headers.items()), 100)
    assert Redactor().text(f"DB_PASS={WORD} http_auth=('u', '{WORD}')") == (
        "DB_PASS=*** http_auth=***"
    )


def test_a_long_list_beside_a_secret() -> None:
    secret = zodbjobs.Secret(WORD)
    for values in ([secret, [0] * 20_000], [[0] * 20_000, secret], [{"a": secret}, [[0]] * 9_000]):
        assert Redactor(values).text(f"in with {WORD}") == "in with ***"


def test_a_secret_of_many_lines_shows_no_text_at_all_and_takes_no_time() -> None:
    lines = "\n".join(f"line {number} of the grades" for number in range(20_000))
    start = time.perf_counter()
    hidden = Redactor([zodbjobs.Secret(lines)])
    assert hidden.text("bad row: line 19999 of the grades") == HIDDEN
    assert hidden.show("a title", 100) == HIDDEN
    assert time.perf_counter() - start < 1
    key = "\n".join(f"a line of a key {number:04}" for number in range(100))
    assert Redactor([zodbjobs.Secret(key)]).text("at a line of a key 0099") == "at ***"


# By a function


def test_a_function_of_the_application_s(registered: list[Any]) -> None:
    asked = []

    def hide(name: str | None, value: Any) -> Any:
        asked.append((name, value))
        if name == "born":
            return HIDDEN
        return value.replace("M123", "M...") if isinstance(value, str) else value

    registered.append(redaction.register(hide))
    redactor = Redactor()
    shown = redactor.show({"born": 1990, "ids": ["M123"], "password": WORD}, 100)
    assert shown == "{'born': ***, 'ids': ['M...'], 'password': ***}"
    assert redactor.text("no M123", "log") == "no M..."
    assert ("log", "no M123") in asked
    assert not [name for name, value in asked if value == WORD]
    registered.pop()()
    assert redactor.text("no M123", "log") == "no M123"


@pytest.mark.parametrize("error", [ValueError(WORD), SystemExit(WORD)])
def test_a_function_that_raises_leaks_nothing(
    registered: list[Any], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str | None, value: Any) -> Any:
        if name == "card" or (name == "log" and "card" in value):
            raise error
        return value

    registered.append(redaction.register(fail))
    assert Redactor().show({"card": WORD, "a": 1}, 100) == "{'card': ***, 'a': 1}"
    assert Redactor().text(f"card {WORD}", "log") == HIDDEN
    assert Redactor().value(WORD, "card") == HIDDEN
    assert f"raised {type(error).__name__}" in caplog.text
    assert WORD not in caplog.text


def test_a_function_may_return_anything(registered: list[Any]) -> None:
    registered.append(redaction.register(lambda name, value: Broken() if value == 1 else value))
    registered.append(redaction.register(lambda name, value: None if value == "x" else value))
    assert Redactor().show([2, "x"], 100) == "[2, None]"
    assert "can't be shown" in Redactor().show([1], 100)
    assert Redactor().text("x", "log") == HIDDEN
    assert Redactor().value(1) == HIDDEN


def test_only_functions_are_registered() -> None:
    with pytest.raises(BadArgument, match="asked of a function, not of 5"):
        redaction.register(5)  # type: ignore[arg-type]
