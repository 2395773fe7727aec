"""Put a job again: a new one that calls the same, with changed arguments if these are plain."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from zodbjobs.errors import ZodbjobsError
from zodbjobs.insights import job_info
from zodbjobs.insights.jobs import unreadable_reason
from zodbjobs.insights.shown import redactor_of, shown_arguments
from zodbjobs.operations import deeds
from zodbjobs.stored.lifecycle.again import is_json
from zodbjobs.web import responses, sentences
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import DONE, Visit

# Characters of an argument as JSON.
_MOST_ARGUMENT = 10_000


@dataclasses.dataclass(frozen=True)
class Argument:
    """An argument. `field`: the name of its field, None if it can't be changed; `text`: it as
    JSON, or as it is shown.
    """

    title: str
    field: str | None
    text: str


@dataclasses.dataclass(frozen=True)
class Again:
    """All that the page shows. `error`: what was wrong with what was sent."""

    title: str
    call: str
    arguments: tuple[Argument, ...]
    hides_arguments: bool
    why: str
    error: str | None
    path: str
    back: str


def ask(visit: Visit) -> Response:
    """The page with a field for each argument that can be changed."""
    return _page(visit)


def put(visit: Visit) -> Response:
    """Put it again."""
    fields = {each.field: each for each in _arguments(visit) if each.field is not None}
    args: dict[int, Any] = {}
    kwargs: dict[str, Any] = {}
    for field, argument in fields.items():
        text = visit.request.POST.get(field)
        if not isinstance(text, str) or text.strip() == argument.text:
            continue
        try:
            value = json.loads(text[:_MOST_ARGUMENT], parse_constant=_refuse)
        except (ValueError, RecursionError):
            said = visit.t(
                "What is given for {name} isn’t JSON: text stands in double quotes.",
                name=argument.title,
            )
            return _page(visit, said)
        place, name = field[0], field[2:]
        if place == "a":
            args[int(name)] = value
        else:
            kwargs[name] = value
    try:
        new = deeds.put_again(
            visit.connection,
            visit.parts["job"],
            args,
            kwargs,
            by=visit.rights.principal,
            why=visit.field("why") or None,
        )
    except ZodbjobsError as error:
        return _page(visit, deeds.reason(visit.connection, visit.parts["job"], error))
    return responses.see_other(visit.url("jobs", new.id, **{DONE: "again"}))


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} isn't JSON")


def _page(visit: Visit, error: str | None = None) -> Response:
    info = job_info(visit.job)
    given = visit.request.POST if error is not None else {}
    arguments = tuple(
        argument
        if argument.field is None
        else dataclasses.replace(argument, text=str(given.get(argument.field, argument.text)))
        for argument in _arguments(visit)
    )
    shown = Again(
        title=sentences.title_of(visit.language, info),
        call=info.description,
        arguments=arguments,
        hides_arguments=not visit.may("view_arguments", visit.job),
        why=visit.field("why") if error is not None else "",
        error=error,
        path=visit.url("jobs", info.id, "again"),
        back=visit.url("jobs", info.id),
    )
    title = visit.t("Put “{title}” again", title=shown.title)
    status = 200 if error is None else 400
    return visit.page("again", title, shown, status=status, cache=responses.NOT_KEPT)


def _arguments(visit: Visit) -> Iterator[Argument]:
    """The arguments, for those who may see them. One that isn't shown in full stays as it is: its
    field would tell what is hidden.
    """
    job = visit.job
    if unreadable_reason(job) is not None or not visit.may("view_arguments", job):
        return
    values = [(f"a-{place}", "", value) for place, value in enumerate(job.args)]
    values += [(f"k-{name}", f"{name}=", value) for name, value in job.kwargs.items()]
    for number, ((field, before, value), shown) in enumerate(
        zip(values, shown_arguments(job, redactor_of(job)), strict=True), 1
    ):
        title = before.removesuffix("=") or visit.t("Argument {number}", number=number)
        if shown == f"{before}{value!r}" and is_json(value):
            yield Argument(title, field, json.dumps(value, ensure_ascii=False))
        else:
            yield Argument(title, None, shown.removeprefix(before))
