"""A Statsig on loopback: takes events, exposures, metrics and segment members as Statsig does, and shows them.

For trying out a mapping (`statsig-emulator COMMAND…`) and for tests (`StatsigEmulator`). It follows what Statsig
publishes about its two APIs. Nothing outside this package imports it.
"""

from target_statsig.emulator.faults import Fault, Faults, events_of
from target_statsig.emulator.server import StatsigEmulator
from target_statsig.emulator.state import Options, State

__all__ = ["Fault", "Faults", "Options", "State", "StatsigEmulator", "events_of"]
