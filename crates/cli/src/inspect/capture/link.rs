//! A TCP segment out of a captured frame: link, IP and TCP headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Link types, as the registry of pcap numbers them.
const NULL: u32 = 0;
const ETHERNET: u32 = 1;
const RAW_BSD: [u32; 2] = [12, 14];
const RAW: u32 = 101;
const LOOP: u32 = 108;
const LINUX_COOKED: u32 = 113;
const IPV4: u32 = 228;
const IPV6: u32 = 229;
const LINUX_COOKED_V2: u32 = 276;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86DD;
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88A8, 0x9100];

/// How many VLAN tags, and how many IPv6 extension headers, are looked through.
const TAGS_MAX: usize = 4;
const EXTENSIONS_MAX: usize = 8;

const PROTOCOL_TCP: u8 = 6;

/// A piece of one direction of a TCP connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Segment<'a> {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) sequence: u32,
    pub(crate) syn: bool,
    pub(crate) rst: bool,
    pub(crate) payload: &'a [u8],
}

/// Returns the TCP segment of a frame, or `None` if it is something else, or a fragment.
pub(crate) fn segment(link: u32, frame: &[u8]) -> Option<Segment<'_>> {
    match link {
        ETHERNET => ethertype(frame, 12),
        LINUX_COOKED => ethertype(frame, 14),
        LINUX_COOKED_V2 => ip_of_type(u16_at(frame, 0)?, frame.get(20..)?),
        // The address family has other numbers on other systems; the packet tells for itself.
        NULL | LOOP => ip(frame.get(4..)?),
        RAW | IPV4 | IPV6 => ip(frame),
        link if RAW_BSD.contains(&link) => ip(frame),
        _ => None,
    }
}

/// Reads on from a type field of Ethernet, through VLAN tags.
fn ethertype(frame: &[u8], at: usize) -> Option<Segment<'_>> {
    let mut at = at;
    for _ in 0..=TAGS_MAX {
        let ethertype = u16_at(frame, at)?;
        if !ETHERTYPES_VLAN.contains(&ethertype) {
            return ip_of_type(ethertype, frame.get(at + 2..)?);
        }
        at += 4;
    }
    None
}

fn ip_of_type(ethertype: u16, packet: &[u8]) -> Option<Segment<'_>> {
    matches!(ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6).then(|| ip(packet))?
}

fn ip(packet: &[u8]) -> Option<Segment<'_>> {
    match packet.first()? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => None,
    }
}

fn ipv4(packet: &[u8]) -> Option<Segment<'_>> {
    let header_len = usize::from(packet.first()? & 0x0F) * 4;
    let total_len = usize::from(u16_at(packet, 2)?);
    // What follows the packet is padding. A length of 0 means that the card computed it later.
    let packet = match total_len {
        0 => packet,
        total_len => packet.get(..total_len).unwrap_or(packet),
    };
    let is_fragment = u16_at(packet, 6)? & 0x3FFF != 0;
    if header_len < 20 || is_fragment || *packet.get(9)? != PROTOCOL_TCP {
        return None;
    }
    let address = |at| {
        let bytes = packet.get(at..)?.first_chunk::<4>()?;
        Some(IpAddr::V4(Ipv4Addr::from(*bytes)))
    };
    tcp(address(12)?, address(16)?, packet.get(header_len..)?)
}

fn ipv6(packet: &[u8]) -> Option<Segment<'_>> {
    let address = |at| {
        let bytes = packet.get(at..)?.first_chunk::<16>()?;
        Some(IpAddr::V6(Ipv6Addr::from(*bytes)))
    };
    let (source, destination) = (address(8)?, address(24)?);
    let payload_len = usize::from(u16_at(packet, 4)?);
    let mut next = *packet.get(6)?;
    let mut rest = packet.get(40..)?;
    if payload_len > 0 {
        rest = rest.get(..payload_len).unwrap_or(rest);
    }
    for _ in 0..=EXTENSIONS_MAX {
        let length = match next {
            PROTOCOL_TCP => return tcp(source, destination, rest),
            // Hop-by-hop options, routing, destination options.
            0 | 43 | 60 => (usize::from(*rest.get(1)?) + 1) * 8,
            // A fragment header that makes no fragments.
            44 if u16_at(rest, 2)? & 0xFFF9 == 0 => 8,
            // Authentication.
            51 => (usize::from(*rest.get(1)?) + 2) * 4,
            _ => return None,
        };
        next = *rest.first()?;
        rest = rest.get(length..)?;
    }
    None
}

fn tcp(source: IpAddr, destination: IpAddr, segment: &[u8]) -> Option<Segment<'_>> {
    let sequence = u32::from_be_bytes(*segment.get(4..)?.first_chunk()?);
    let header_len = usize::from(*segment.get(12)? >> 4) * 4;
    let flags = *segment.get(13)?;
    if header_len < 20 {
        return None;
    }
    Some(Segment {
        source: SocketAddr::new(source, u16_at(segment, 0)?),
        destination: SocketAddr::new(destination, u16_at(segment, 2)?),
        sequence,
        syn: flags & 0x02 != 0,
        rst: flags & 0x04 != 0,
        payload: segment.get(header_len..)?,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Builds an IPv4 packet with a TCP segment; `flags` as in its header.
    pub(in crate::inspect::capture) fn ipv4_packet(
        (source, destination): (u16, u16),
        sequence: u32,
        flags: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let length = u16::try_from(40 + payload.len()).unwrap();
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0]);
        // The server is 10.0.0.2, the client 10.0.0.1.
        let host = |port| if port == 1883 { 2 } else { 1 };
        packet.extend([10, 0, 0, host(source), 10, 0, 0, host(destination)]);
        packet.extend(tcp_segment((source, destination), sequence, flags, payload));
        packet
    }

    fn tcp_segment(
        (source, destination): (u16, u16),
        sequence: u32,
        flags: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(source.to_be_bytes());
        segment.extend(destination.to_be_bytes());
        segment.extend(sequence.to_be_bytes());
        segment.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        segment.extend(payload);
        segment
    }

    fn ipv6_packet(next: u8, extensions: &[u8]) -> Vec<u8> {
        let segment = tcp_segment((50_000, 1883), 7, 0x18, b"hi");
        let length = u16::try_from(extensions.len() + segment.len()).unwrap();
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([next, 64]);
        packet.extend(
            [[0; 15], [0; 15]]
                .map(|zeros| [&zeros[..], &[1]].concat())
                .concat(),
        );
        packet.extend(extensions);
        packet.extend(segment);
        packet
    }

    #[test]
    fn a_segment_is_found_behind_every_kind_of_header() {
        let v4 = ipv4_packet((50_000, 1883), 7, 0x18, b"hi");
        let before = |header: &[u8], packet: &[u8]| [header, packet].concat();
        let macs = [0; 12];
        let cases = [
            (
                "Ethernet",
                ETHERNET,
                before(&[&macs[..], &[8, 0]].concat(), &v4),
            ),
            (
                "Ethernet, padded",
                ETHERNET,
                [&macs[..], &[8, 0], &v4, &[0; 6]].concat(),
            ),
            (
                "two VLAN tags",
                ETHERNET,
                [&macs[..], &[0x88, 0xA8, 0, 1, 0x81, 0, 0, 2, 8, 0], &v4].concat(),
            ),
            (
                "Ethernet, IPv6",
                ETHERNET,
                [&macs[..], &[0x86, 0xDD], &ipv6_packet(6, &[])].concat(),
            ),
            (
                "Linux cooked",
                LINUX_COOKED,
                [&[0; 14][..], &[8, 0], &v4].concat(),
            ),
            (
                "Linux cooked 2",
                LINUX_COOKED_V2,
                [&[8, 0][..], &[0; 18], &v4].concat(),
            ),
            ("null", NULL, before(&[2, 0, 0, 0], &v4)),
            ("loop", LOOP, before(&[0, 0, 0, 24], &ipv6_packet(6, &[]))),
            ("raw", RAW, v4.clone()),
            ("raw of BSD", 12, v4.clone()),
            ("IPv4", IPV4, v4.clone()),
            ("IPv6", IPV6, ipv6_packet(6, &[])),
            (
                "IPv6, hop-by-hop options",
                RAW,
                ipv6_packet(0, &[6, 0, 1, 4, 0, 0, 0, 0]),
            ),
            (
                "IPv6, fragment that is whole",
                RAW,
                ipv6_packet(44, &[6, 0, 0, 0, 0, 0, 0, 1]),
            ),
        ];
        for (name, link, frame) in cases {
            let found = segment(link, &frame).expect(name);
            assert_eq!(
                (found.source.port(), found.destination.port()),
                (50_000, 1883),
                "{name}"
            );
            assert_eq!((found.sequence, found.payload), (7, &b"hi"[..]), "{name}");
            assert_eq!((found.syn, found.rst), (false, false), "{name}");
            for cut in 0..frame.len() {
                // A frame may be captured in part.
                let _ = segment(link, &frame[..cut]);
            }
        }
    }

    #[test]
    fn what_is_no_segment_is_left_alone() {
        let v4 = ipv4_packet((50_000, 1883), 7, 0x18, b"hi");
        let changed = |at: usize, byte: u8| {
            let mut packet = v4.clone();
            packet[at] = byte;
            packet
        };
        let cases = [
            ("UDP", RAW, changed(9, 17)),
            ("a later fragment", RAW, changed(7, 1)),
            ("a first fragment", RAW, changed(6, 0x20)),
            ("IPv4 header too short", RAW, changed(0, 0x44)),
            ("TCP header too short", RAW, changed(32, 0x40)),
            ("TCP header too long", RAW, changed(32, 0xF0)),
            ("IP version 5", RAW, changed(0, 0x55)),
            ("ARP", ETHERNET, [&[0; 12][..], &[8, 6], &v4].concat()),
            (
                "IPv6 fragment",
                RAW,
                ipv6_packet(44, &[6, 0, 0, 1, 0, 0, 0, 1]),
            ),
            ("no more headers", RAW, ipv6_packet(59, &[])),
            ("unknown link type", 147, v4.clone()),
            ("nothing", RAW, vec![]),
        ];
        for (name, link, frame) in cases {
            assert_eq!(segment(link, &frame), None, "{name}");
        }
    }
}
