# SPDX-License-Identifier: ISC
"""Everything that a server sends, as the kernel shows it, and what of that it should not have sent."""
import socket
import struct

import net

ETH_P_ALL, PACKET_OUTGOING, SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 3, 4, 263, 6, 33
ARP, IPV4, IPV6, ICMP, TCP, ICMPV6, HOP_BY_HOP = 0x0806, 0x0800, 0x86dd, 1, 6, 58, 0
ECHO_REPLY, ECHO = 0, 8
KERNELS_OWN = (133, 135, 136, 143)  # ICMPv6: router and neighbour discovery, multicast reports
PORT = 5481


class Capture:
    """Outgoing packets of one server of a group, from now on, on all its interfaces."""

    def __init__(self, group, server):
        self.own = set(group.network.addresses(server.name))
        self.partners = {a for s in group if s is not server for a in group.network.addresses(s.name)}
        self.references = set(group.network.references())
        self.socket = net.in_namespace(server.namespace, self._open)

    @staticmethod
    def _open():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        return s

    def frames(self):
        """All since the last call; no frame was lost."""
        found = []
        while True:
            try:
                data, (_, _, kind, _, _) = self.socket.recvfrom(1 << 17)  # a segment that the kernel has not cut yet is longer than a packet
            except BlockingIOError:
                break
            if kind == PACKET_OUTGOING:
                found.append(data)
        dropped = struct.unpack("=II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        assert dropped == 0, "%d frames were not seen" % dropped
        return found

    def strange(self, frame):
        """Why this frame should not have been sent; None when it is what the guard is for."""
        kind = struct.unpack_from("!H", frame, 12)[0]
        if kind == ARP:
            return None
        if kind == IPV6:
            body = frame[14 + 40:]
            if frame[14 + 6] == HOP_BY_HOP:
                body = body[8:]
            return None if body and body[0] in KERNELS_OWN else "IPv6"
        if kind != IPV4:
            return "type %04x" % kind
        return self._strange_ipv4(frame[14:])

    def _strange_ipv4(self, packet):
        source, destination = (socket.inet_ntoa(packet[at:at + 4]) for at in (12, 16))
        text = "protocol %d from %s to %s" % (packet[9], source, destination)
        if source not in self.own:
            return "forged source: " + text
        if packet[0] != 0x45:
            return "IP options: " + text
        body = packet[20:]
        if packet[9] == ICMP:
            right = body[0] in (ECHO, ECHO_REPLY) and destination in self.partners | self.references
            return None if right else "ICMP type %d: %s" % (body[0], text)
        if packet[9] == TCP:
            right = PORT in struct.unpack_from("!HH", body) and destination in self.partners
            return None if right else "ports: " + text
        return text

    def odd(self):
        """Reasons for all strange frames since the last call, and how many frames there were."""
        frames = self.frames()
        return [why for why in map(self.strange, frames) if why], len(frames)

    def close(self):
        self.socket.close()
