from __future__ import annotations

import json

import pytest
import yaml

from tests.deploy.queries import DASHBOARD, DEPLOY, GIVEN, alert_queries, dashboard_queries, declared, metrics_in

QUERIES = [*dashboard_queries(), *alert_queries()]


@pytest.mark.parametrize(("place", "query"), QUERIES, ids=[place for place, _ in QUERIES])
def test_a_query_names_only_metrics_that_a_service_declares(place: str, query: str) -> None:
    named = metrics_in(query)

    assert named, query
    assert named <= GIVEN | declared().keys()


def test_no_panel_covers_another_and_none_is_empty() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places, panel["title"]
        assert at["x"] + at["w"] <= 24
        assert panel["type"] == "row" or (panel["targets"] and panel["description"])
        places |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_dashboard_and_grafana_speak_of_the_same_source() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    targets = [target for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel.get("targets", [])]

    assert {target["datasource"]["uid"] for target in targets} == {source["uid"]}


def test_no_metric_is_labelled_by_a_person_or_a_product() -> None:
    labels = {label for names in declared().values() for label in names}

    assert not labels & {"customer", "customer_id", "user", "device", "session", "product", "email", "address", "command_id"}
