"""MQTT in and out: phones and other senders as a source, events and states as a sink, commands.

It is no broker and keeps nothing on disk: what a broker has not acknowledged is written again by
the runtime.  The runtime finds the classes through their entry points.
"""

from hard_mqtt.commands import MqttCommands
from hard_mqtt.sink import MqttSink
from hard_mqtt.source import MqttSource

__all__ = ["MqttCommands", "MqttSink", "MqttSource"]
