"""The dashboard, the saved queries and the groups of traces, read from the synthesized template."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from services.shared.events import SERVICES
from services.shared.metrics import Metric
from services.summarizer.report import LIBRARY_PAGE_KEY
from tests.infra.test_template import undelivered_events
from tools.template import Resource, Template

COLUMNS = 24


def filled(value: Any, names: dict[str, Resource], prod: Template) -> str:
    """Return a joined text, with an invented name for each reference. `names` gets the resources by these names."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(filled(part, names, prod) for part in parts)
    if "Fn::If" in value:
        return filled(value["Fn::If"][2], names, prod)
    target = value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0]
    if target in prod.resources:
        names[target] = prod.resources[target]
    return str(target)


class Page:
    """The dashboard, with the resources that its metrics are of."""

    def __init__(self, prod: Template) -> None:
        (self.resource,) = prod.of_type("AWS::CloudWatch::Dashboard")
        self.names: dict[str, Resource] = {}
        body = json.loads(filled(self.resource["DashboardBody"], self.names, prod))
        self.body: Mapping[str, Any] = body
        self.widgets: list[Any] = body["widgets"]

    def widget(self, title: str) -> Any:
        (found,) = (one for one in self.widgets if title in one["properties"].get("title", ""))
        return found["properties"]

    def metrics(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Yield the namespace, name and dimensions of every metric."""
        for widget in self.widgets:
            yield from metrics_of(widget["properties"])


def metrics_of(widget: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    for row in widget.get("metrics", []):
        texts = [one for one in row if isinstance(one, str)]
        if texts:
            yield texts[0], texts[1], dict(zip(texts[2::2], texts[3::2], strict=True))


@pytest.fixture(scope="module")
def page(prod: Template) -> Page:
    return Page(prod)


# The dashboard


def test_the_dashboard_has_the_name_of_the_stack(prod: Template, page: Page) -> None:
    assert page.resource["DashboardName"] == prod.stack


def test_a_stack_can_do_without_its_dashboard(unusual: Template, prod: Template) -> None:
    assert unusual.of_type("AWS::CloudWatch::Dashboard") == []
    assert [name for name in unusual.body["Outputs"] if "Dashboard" in name] == []
    assert [name for name in prod.body["Outputs"] if "Dashboard" in name] == ["DashboardConsoleUrl"]


def test_every_metric_of_the_functions_is_on_the_dashboard_under_the_name_that_is_emitted(
    prod: Template, page: Page
) -> None:
    own = [(name, of) for namespace, name, of in page.metrics() if namespace == "CloudSync"]
    assert {name for name, _ in own} == {metric.value for metric in Metric} - {
        Metric.SYNC_COMPLETED.value,
        Metric.SYNC_FAILED.value,
    }
    for name, dimensions in own:
        service = "authenticator" if name == Metric.SESSION_AGE_HOURS else "summarizer"
        environment = prod.services[service].environment
        assert dimensions == {"environment": environment["ENVIRONMENT"], "service": service}
        assert environment["POWERTOOLS_METRICS_NAMESPACE"] == "CloudSync"


@pytest.mark.parametrize(
    ("title", "of"),
    [
        ("oldest message", "inbox"),
        ("Messages of each inbox", "inbox"),
        ("Dead letters", "dead_letters"),
        ("crashed", "function"),
        ("refused", "function"),
        ("longest run", "function"),
        ("gigabyte-seconds", "function"),
        ("SQS: requests", "inbox"),
        ("CloudWatch Logs", "log_group"),
    ],
)
def test_a_widget_by_service_has_every_service(prod: Template, page: Page, title: str, of: str) -> None:
    expected = {getattr(service, of).id for service in prod.services.values()}
    if of == "dead_letters":
        expected |= {undelivered_events(prod).id}
    if of == "log_group":
        (events_log,) = (one for one in prod.of_type("AWS::Logs::LogGroup") if "LogGroupName" in one.properties)
        expected |= {events_log.id}
    shown = {page.names[value].id for _, _, found in metrics_of(page.widget(title)) for value in found.values()}
    assert shown >= expected
    assert {prod.resources[name].body["Type"] for name in shown} == {prod.resources[n].body["Type"] for n in expected}


def test_the_dashboard_shows_the_thresholds_of_the_alarms(prod: Template, page: Page) -> None:
    drawn = {
        mark["label"].partition(" ")[0]: mark["value"]
        for widget in page.widgets
        for mark in widget["properties"].get("annotations", {}).get("horizontal", [])
    }
    thresholds = {alarm.id: alarm["Threshold"] for alarm in prod.of_type("AWS::CloudWatch::Alarm")}
    of_alarms = {name: value for name, value in drawn.items() if any(name in alarm for alarm in thresholds)}
    assert of_alarms.keys() == {"DownloaderDeadLetters", "SummarizerErrors", "Throttles", "SessionOld"}
    for name, value in of_alarms.items():
        assert [threshold for alarm, threshold in thresholds.items() if name in alarm] == [value]
    assert drawn["lanes"] == prod.services["downloader"].source["ScalingConfig"]["MaximumConcurrency"]


def test_the_dashboard_shows_the_state_of_every_alarm(prod: Template, page: Page) -> None:
    (states,) = (one["properties"]["alarms"] for one in page.widgets if one["type"] == "alarm")
    assert set(states) == {alarm.id for alarm in prod.of_type("AWS::CloudWatch::Alarm")}


def test_durations_are_in_percent_of_each_functions_own_timeout(prod: Template, page: Page) -> None:
    expressions = " ".join(one["expression"] for (one,) in expressions_of(page.widget("longest run")))
    timeouts = dict(re.findall(r"100 \* (\w+)_longest / (\d+)", expressions))
    assert timeouts == {name: str(1000 * service.function["Timeout"]) for name, service in prod.services.items()}


def test_computing_is_counted_in_gigabytes_of_each_functions_own_memory(prod: Template, page: Page) -> None:
    expressions = " ".join(one["expression"] for (one,) in expressions_of(page.widget("gigabyte-seconds")))
    memory = {name: float(size) for name, size in re.findall(r"(\w+)_total / 1000 \* ([\d.]+)", expressions)}
    assert memory == {name: service.function["MemorySize"] / 1024 for name, service in prod.services.items()}


def expressions_of(widget: Mapping[str, Any]) -> Iterable[Any]:
    return (row for row in widget["metrics"] if isinstance(row[0], dict) and "expression" in row[0])


def test_an_expression_uses_only_metrics_of_its_own_widget(page: Page) -> None:
    for widget in page.widgets:
        ids = {row[-1]["id"] for row in widget["properties"].get("metrics", []) if "id" in row[-1]}
        for (one,) in expressions_of(widget["properties"]) if "metrics" in widget["properties"] else ():
            used = set(re.findall(r"\b[a-z]\w*\b", one["expression"]))
            assert used <= ids


def test_widgets_fill_their_rows_and_have_titles_of_which_no_two_are_the_same(page: Page) -> None:
    rows: dict[int, int] = {}
    for widget in page.widgets:
        rows[widget["y"]] = rows.get(widget["y"], 0) + widget["width"]
    assert set(rows.values()) == {COLUMNS}
    titles = [one["properties"]["title"] for one in page.widgets if one["type"] != "text"]
    assert len(titles) == len(set(titles))


def test_a_widget_by_night_keeps_its_period_when_the_page_shows_a_month(page: Page) -> None:
    assert page.body["periodOverride"] == "inherit"
    nightly = page.widget("New media by night")
    assert {row[-1].get("period") for row in nightly["metrics"]} == {24 * 60 * 60}
    assert nightly["start"] == "-P35D"


def test_the_links_of_the_dashboard_are_those_of_the_outputs(prod: Template, page: Page) -> None:
    outputs = {filled(one["Value"], {}, prod) for name, one in prod.body["Outputs"].items() if "ConsoleUrl" in name}
    markdown = "\n".join(one["properties"]["markdown"] for one in page.widgets if one["type"] == "text")
    links = re.findall(r"\]\(([^)]+)\)", markdown)
    assert links
    assert set(links) <= outputs
    (reports,) = (link for link in links if "prefix=" in link)
    written = prod.services["summarizer"].statements
    prefix = reports.rpartition("prefix=")[2]
    assert any(f"/{prefix}*" in json.dumps(statement) for statement in written), "where the summarizer writes"
    assert f"`{LIBRARY_PAGE_KEY.removeprefix(prefix)}`" in markdown


# Groups of traces


def test_every_service_has_a_group_and_so_have_faults_and_slow_runs(prod: Template) -> None:
    groups = {group["GroupName"]: group for group in prod.of_type("AWS::XRay::Group")}
    assert set(groups) == {f"{prod.stack}-{name}" for name in (*SERVICES, "faults", "slow")}
    assert all(len(name) <= 32 for name in groups), "X-Ray refuses longer names"
    for name, service in prod.services.items():
        texts = {kind: filled(groups[f"{prod.stack}-{kind}"]["FilterExpression"], {}, prod) for kind in (name, "slow")}
        of_the_function = f'service(id(name: "{service.function.id}", type: "AWS::Lambda::Function"))'
        assert texts[name] == of_the_function
        assert f"{of_the_function} {{ responsetime > {service.function['Timeout'] / 2:g} }}" in texts["slow"].split(
            " OR "
        )
        faults = filled(groups[f"{prod.stack}-faults"]["FilterExpression"], {}, prod)
        assert f"{of_the_function} {{ fault }}" in faults.split(" OR ")
