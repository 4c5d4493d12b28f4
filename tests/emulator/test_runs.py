"""Which run a request belongs to."""

from __future__ import annotations

import pytest

from target_statsig.emulator import Options, State
from target_statsig.emulator.state import QUIET_SECONDS

LATER = QUIET_SECONDS + 1


class Project(State):
    """A state that is told when something happens."""

    def __init__(self):
        super().__init__(Options(clock=lambda: self.now))

    def arrive_at(self, now, connection):
        self.now = now
        self.arrive(connection)

    def leave_at(self, now, connection):
        self.now = now
        self.leave(connection)

    def told(self):
        return [(run.number, run.started, run.ended) for run in self.runs]


@pytest.fixture
def project():
    return Project()


def test_the_first_request_begins_the_first_run(project):
    project.arrive_at(10.0, 1)

    assert project.told() == [(1, 10.0, 10.0)]
    assert project.active


def test_a_wait_on_an_open_connection_is_the_same_run(project):
    project.arrive_at(0.0, 1)
    project.arrive_at(900.0, 1)

    assert project.told() == [(1, 0.0, 900.0)]


def test_one_of_several_connections_suffices(project):
    project.arrive_at(0.0, 1)
    project.arrive_at(0.0, 2)
    project.leave_at(0.0, 1)
    project.arrive_at(LATER, 3)

    assert project.told() == [(1, 0.0, LATER)]


def test_without_a_connection_for_a_while_another_run_begins(project):
    project.arrive_at(0.0, 1)
    project.leave_at(5.0, 1)
    assert not project.active
    project.arrive_at(5.0 + LATER, 2)

    assert project.told() == [(1, 0.0, 5.0), (2, 5.0 + LATER, 5.0 + LATER)]


def test_who_is_back_soon_goes_on(project):
    project.arrive_at(0.0, 1)
    project.leave_at(0.0, 1)
    project.arrive_at(QUIET_SECONDS, 2)

    assert project.told() == [(1, 0.0, QUIET_SECONDS)]


def test_a_connection_that_asked_for_nothing_is_no_targets(project):
    revision = project.revision
    project.leave_at(0.0, 7)

    assert (project.runs, project.revision) == ([], revision)
