"""hard_simulator: a source of SYNTHETIC motion, for demonstrations, tests and load trials.

Nothing that it emits was measured on a person; see README.md.
"""

from hard_simulator.source import SimulatorConfig, SimulatorSource

__all__ = ["SimulatorConfig", "SimulatorSource"]
