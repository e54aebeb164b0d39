"""Which class a resource has at the clients, when an exporter has exported it."""

from __future__ import annotations

EXPORTED = {
    "RawSerialPort": "NetworkSerialPort",
    "USBSerialPort": "NetworkSerialPort",
    "NetworkInterface": "RemoteNetworkInterface",
    "USBNetworkInterface": "RemoteNetworkInterface",
    "AndroidUSBFastboot": "RemoteAndroidUSBFastboot",
    "AndroidNetFastboot": "RemoteAndroidNetFastboot",
    "USBHub": "RemoteUSBHub",
    "TFTPProvider": "RemoteTFTPProvider",
    "HTTPProvider": "RemoteHTTPProvider",
    "NFSProvider": "RemoteNFSProvider",
    "SNMPEthernetPort": "EthernetPort",
    "MatchedSysfsGPIO": "NetworkSysfsGPIO",
    "NetworkService": "NetworkService",
    "HTTPVideoStream": "HTTPVideoStream",
}
"""What clients see instead of an exporter's class; all others that it handles become ``Network...``
(``data["cls"]`` in labgrid/remote/exporter.py), and what it does not know stays as it is."""


def exported_class(cls: str) -> str:
    """The class that clients see of an exporter's ``cls``."""
    from labgrid.remote.exporter import exports

    return EXPORTED.get(cls, f"Network{cls}") if cls in exports else cls
