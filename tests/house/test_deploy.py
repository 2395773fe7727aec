"""The dashboard and the alerts in `deploy`: what they ask for is what is exported."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import sample
import transaction
import yaml
from bench import die, make_doomed
from prometheus_client.parser import text_string_to_metric_families

from zodbjobs import metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
PANELS = DASHBOARD["panels"]
(GROUP,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text("utf-8"))["groups"]
RULES = GROUP["rules"]

# What Prometheus adds to each series that it scrapes; `up` is its own.
TARGET = {"job", "instance"}

#: Names of series, and the values of their labels.
Exported = dict[str, dict[str, set[str]]]


@pytest.fixture
def exported(db: Any, queue: Any) -> Exported:
    """Each series with the values that its labels have; any is right of a queue and a bound."""
    queue.put(sample.nothing)
    transaction.commit()
    doomed = make_doomed(db)
    body, _ = metrics.text_of(metrics.Collector(db, seconds=math.inf).collect())
    die(doomed)
    found: Exported = {}
    for family in text_string_to_metric_families(body.decode()):
        for each in family.samples:
            labels = found.setdefault(each.name, {})
            for label, value in each.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def selectors(node: Any) -> Iterator[Any]:
    """The selectors of series in an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql_parser.Call):
        for each in node.args:
            yield from selectors(each)
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from selectors(node.lhs)
        yield from selectors(node.rhs)
    elif hasattr(node, "expr"):
        yield from selectors(node.expr)


def check(expression: str, exported: Exported) -> None:
    """It can be parsed, and its series, labels and their values are there."""
    found = list(selectors(promql_parser.parse(expression)))
    assert found
    for each in found:
        matchers = list(each.matchers.matchers)
        if each.name == "up":
            assert {m.name for m in matchers} <= TARGET
            continue
        assert each.name in exported, expression
        labels = exported[each.name]
        for matcher in matchers:
            assert matcher.name in {*labels, *TARGET}, (expression, matcher.name)
            if matcher.name in labels and matcher.name not in ("queue", "le"):
                values = set(matcher.value.split("|"))
                assert values <= labels[matcher.name] | {""}, (expression, values)
    for words in re.findall(r"(?:by|on) \(([^)]*)\)", expression):
        known = set().union(TARGET, *(exported.get(each.name, {}) for each in found))
        assert {word.strip() for word in words.split(",")} <= known, expression


# Alerts


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert(rule: dict[str, Any], exported: Exported) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    check(rule["expr"], exported)
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}
    text = " ".join(rule["annotations"].values())
    known = {label for labels in exported.values() for label in labels} | TARGET
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= known
    assert re.sub(r"\{\{ \$(labels\.\w+|value( \| humanize\w*)?) \}\}", "", text).isascii()
    assert "{{" not in re.sub(r"\{\{ \$(labels\.\w+|value( \| humanize\w*)?) \}\}", "", text)


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"Zodbjobs[A-Za-z]+", name) for name in names)


def test_the_page_lists_the_alerts() -> None:
    page = (ROOT / "docs" / "how-to" / "observe.md").read_text("utf-8")
    listed = re.findall(r"^\| `(Zodbjobs\w+)` \|", page, re.MULTILINE)
    assert listed == [rule["alert"] for rule in RULES]


# The dashboard


def filled(expression: str) -> str:
    """With values for the variables of Grafana."""
    return re.sub(r"\$(instance|queue)\b", ".*", expression.replace("$__rate_interval", "5m"))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel(panel: dict[str, Any], exported: Exported) -> None:
    assert panel["description"]
    assert panel["targets"]
    for target in panel["targets"]:
        check(filled(target["expr"]), exported)
        assert "$" not in filled(target["expr"])
        known = {label for labels in exported.values() for label in labels}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_variables(exported: Exported) -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "instance", "queue"]
    for name in ("instance", "queue"):
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variables[name]["query"]["query"])
        assert asked is not None
        assert asked[2] == name
        check(filled(asked[1]), exported)


def test_panels_have_their_places() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_each_metric_is_shown(exported: Exported) -> None:
    """On the dashboard or by an alert."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    text = " ".join([*asked, *(rule["expr"] for rule in RULES)])
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported}
    assert {name for name in names if name not in text} == set()
