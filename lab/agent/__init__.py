"""What runs on the board and in the guest: Python's standard library only, nothing else of lab/.

The host ships the sources of this package over execnet (`lab.agent.ship`), the board compiles each module
when it is first used (`lab.agent.boot`) and answers calls (`lab.agent.server`). File descriptors, mappings
and queues stay on the board behind integer handles; values that cross the wire are plain.

Importing a module costs milliseconds on an emulated board, so nothing is imported here, and the modules
import what they need as late as possible.
"""
