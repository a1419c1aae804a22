//! MQTT by hand: a socket, hex in, expected hex out.
//!
//! Nothing here uses the project's codec, so a fault that both ends of it share cannot hide.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Version, WAIT};
use crate::clock::Deadline;

/// A connection that sends and expects bytes.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
}

/// A PUBLISH taken apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) duplicate: bool,
    pub(crate) retain: bool,
    pub(crate) id: Option<u16>,
    /// Property section without its length; empty before 5.0.
    pub(crate) properties: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// What goes into a CONNECT.
#[derive(Clone, Debug)]
pub(crate) struct Hello<'a> {
    pub(crate) version: Version,
    pub(crate) client_id: &'a str,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    /// Topic and payload; sent at QoS 0, not retained.
    pub(crate) will: Option<(&'a str, &'a [u8])>,
    /// Property section without its length; 5.0 only.
    pub(crate) properties: Vec<u8>,
}

impl<'a> Hello<'a> {
    pub(crate) fn new(version: Version, client_id: &'a str) -> Self {
        Self {
            version,
            client_id,
            clean: true,
            keep_alive: 60,
            will: None,
            properties: vec![],
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = match self.version {
            Version::V31 => string("MQIsdp"),
            Version::V311 | Version::V5 => string("MQTT"),
        };
        let will_flag = if self.will.is_some() { 0x04 } else { 0 };
        let clean_flag = if self.clean { 0x02 } else { 0 };
        body.extend([self.version.level(), will_flag | clean_flag]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.version == Version::V5 {
            body.extend(property_section(&self.properties));
        }
        body.extend(string(self.client_id));
        if let Some((topic, payload)) = self.will {
            if self.version == Version::V5 {
                body.push(0);
            }
            body.extend(string(topic));
            body.extend(prefixed(payload));
        }
        packet(0x10, &body)
    }
}

impl Wire {
    /// Opens a connection and sends nothing.
    pub(crate) fn open(broker: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&broker, WAIT).context("connecting a socket")?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WAIT))?;
        Ok(Self { stream })
    }

    /// This end of the connection, as the broker's log calls it.
    pub(crate) fn local_address(&self) -> Result<SocketAddr> {
        self.stream
            .local_addr()
            .context("asking for the address of a socket")
    }

    /// Opens a connection, sends the CONNECT, and returns the CONNACK, which must accept.
    pub(crate) fn hello(broker: SocketAddr, hello: &Hello<'_>) -> Result<(Self, Vec<u8>)> {
        let mut wire = Self::open(broker)?;
        wire.send(&hello.encode())?;
        let answer = wire.packet()?.context("closed instead of a CONNACK")?;
        ensure!(
            answer.first() == Some(&0x20) && code_of_connack(&answer) == Some(0),
            "CONNACK does not accept: {}",
            to_hex(&answer)
        );
        Ok((wire, answer))
    }

    /// Connects with a clean session.
    pub(crate) fn connected(broker: SocketAddr, version: Version, client_id: &str) -> Result<Self> {
        Ok(Self::hello(broker, &Hello::new(version, client_id))?.0)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream
            .write_all(bytes)
            .context("writing to the broker")
    }

    pub(crate) fn send_hex(&mut self, text: &str) -> Result<()> {
        self.send(&hex(text)?)
    }

    /// Ends the sending direction only: the half-open connection of the title.
    pub(crate) fn shut_sending(&mut self) -> Result<()> {
        self.stream
            .shutdown(std::net::Shutdown::Write)
            .context("shutting the sending side")
    }

    /// Subscribes to one filter and checks that it is granted.
    pub(crate) fn subscribe(&mut self, version: Version, filter: &str, qos: u8) -> Result<()> {
        let mut body = vec![0x00, 0x0A];
        if version == Version::V5 {
            body.push(0);
        }
        body.extend(string(filter));
        body.push(qos);
        self.send(&packet(0x82, &body))?;
        let answer = self.packet()?.context("closed instead of a SUBACK")?;
        ensure!(
            answer.first() == Some(&0x90) && answer.last() == Some(&qos),
            "SUBACK does not grant QoS {qos} for {filter}: {}",
            to_hex(&answer)
        );
        Ok(())
    }

    /// Reads exactly one packet, which must consist of these bytes.
    pub(crate) fn expect_hex(&mut self, text: &str) -> Result<()> {
        let expected = hex(text)?;
        match self.packet()? {
            Some(got) if got == expected => Ok(()),
            Some(got) => bail!("expected {}, got {}", to_hex(&expected), to_hex(&got)),
            None => bail!("expected {}, but the broker closed", to_hex(&expected)),
        }
    }

    /// Reads the next PUBLISH.
    pub(crate) fn publish(&mut self, version: Version) -> Result<Publish> {
        let bytes = self.packet()?.context("closed instead of a PUBLISH")?;
        Publish::decode(version, &bytes)
    }

    /// Reads one packet, or `None` once the broker has closed, within the usual wait.
    pub(crate) fn packet(&mut self) -> Result<Option<Vec<u8>>> {
        self.packet_within(WAIT)
    }

    /// Reads one packet, or `None` once the broker has closed.
    pub(crate) fn packet_within(&mut self, wait: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Deadline::after(wait);
        let mut bytes = Vec::new();
        let mut length = 0_usize;
        for position in 0..5 {
            let Some(byte) = self.byte(deadline)? else {
                ensure!(
                    bytes.is_empty(),
                    "closed inside a packet: {}",
                    to_hex(&bytes)
                );
                return Ok(None);
            };
            bytes.push(byte);
            if position > 0 {
                length |= usize::from(byte & 0x7F) << (7 * (position - 1));
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        let header = bytes.len();
        bytes.resize(header + length, 0);
        let body = bytes.get_mut(header..).context("packet without a body")?;
        self.fill(body, deadline)?;
        Ok(Some(bytes))
    }

    /// Waits until the broker closes; anything it still sends is a failure.
    pub(crate) fn expect_close(&mut self, wait: Duration) -> Result<()> {
        match self.packet_within(wait)? {
            None => Ok(()),
            Some(bytes) => bail!("expected a close, got {}", to_hex(&bytes)),
        }
    }

    /// Checks that nothing arrives for a while.
    pub(crate) fn expect_silence(&mut self, wait: Duration) -> Result<()> {
        ensure!(
            !self.is_closed_within(wait)?,
            "closed where silence was expected"
        );
        Ok(())
    }

    /// Whether the broker closes within `wait`; it must not send anything.
    pub(crate) fn is_closed_within(&mut self, wait: Duration) -> Result<bool> {
        self.stream.set_read_timeout(Some(wait))?;
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => Ok(true),
            Ok(_) => bail!("a packet {:02X} .. arrived", byte[0]),
            Err(error) if is_timeout(&error) => Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error).context("reading from the broker"),
        }
    }

    /// PINGREQ and its answer: the broker has handled everything sent before it.
    pub(crate) fn ping(&mut self) -> Result<()> {
        self.send_hex("C0 00")?;
        self.expect_hex("D0 00")
    }

    fn byte(&mut self, deadline: Deadline) -> Result<Option<u8>> {
        let mut byte = [0];
        Ok(if self.read(&mut byte, deadline)? == 0 {
            None
        } else {
            Some(byte[0])
        })
    }

    fn fill(&mut self, mut body: &mut [u8], deadline: Deadline) -> Result<()> {
        while !body.is_empty() {
            let count = self.read(body, deadline)?;
            ensure!(
                count > 0,
                "closed inside a packet, {} bytes missing",
                body.len()
            );
            body = body
                .get_mut(count..)
                .context("read more than there was room for")?;
        }
        Ok(())
    }

    /// Reads some bytes; 0 is the end of the stream, also where it ends with a reset.
    fn read(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize> {
        loop {
            let Some(left) = deadline.remaining() else {
                bail!("no answer from the broker within the wait");
            };
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(0),
                Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading from the broker"),
            }
        }
    }
}

impl Publish {
    pub(crate) fn encode(&self, version: Version) -> Vec<u8> {
        let duplicate = if self.duplicate { 0x08 } else { 0 };
        let mut body = string(&self.topic);
        if let Some(id) = self.id {
            body.extend(id.to_be_bytes());
        }
        if version == Version::V5 {
            body.extend(property_section(&self.properties));
        }
        body.extend(&self.payload);
        packet(
            0x30 | duplicate | self.qos << 1 | u8::from(self.retain),
            &body,
        )
    }

    fn decode(version: Version, bytes: &[u8]) -> Result<Self> {
        let first = *bytes.first().context("empty packet")?;
        ensure!(first >> 4 == 3, "expected a PUBLISH, got {}", to_hex(bytes));
        let mut rest = bytes.get(1..).unwrap_or_default();
        take_variable(&mut rest)?;
        let topic_length = usize::from(take_u16(&mut rest)?);
        let topic = String::from_utf8(take(&mut rest, topic_length)?.to_vec())?;
        let qos = first >> 1 & 0x03;
        let id = if qos > 0 {
            Some(take_u16(&mut rest)?)
        } else {
            None
        };
        let properties = if version == Version::V5 {
            let length = take_variable(&mut rest)?;
            take(&mut rest, length)?.to_vec()
        } else {
            vec![]
        };
        Ok(Self {
            topic,
            qos,
            duplicate: first & 0x08 != 0,
            retain: first & 0x01 != 0,
            id,
            properties,
            payload: rest.to_vec(),
        })
    }
}

/// The reason or return code of a CONNACK.
pub(crate) fn code_of_connack(packet: &[u8]) -> Option<u8> {
    packet.get(3).copied()
}

/// The value of a two byte property in a CONNACK of 5.0.
pub(crate) fn connack_u16(packet: &[u8], identifier: u8) -> Result<Option<u16>> {
    let Some(value) = connack_property(packet, identifier)? else {
        return Ok(None);
    };
    let value: [u8; 2] = value.try_into().context("not a two byte property")?;
    Ok(Some(u16::from_be_bytes(value)))
}

/// The value of a four byte property in a CONNACK of 5.0.
pub(crate) fn connack_u32(packet: &[u8], identifier: u8) -> Result<Option<u32>> {
    let Some(value) = connack_property(packet, identifier)? else {
        return Ok(None);
    };
    let value: [u8; 4] = value.try_into().context("not a four byte property")?;
    Ok(Some(u32::from_be_bytes(value)))
}

/// Walks all properties that a CONNACK may hold, so a value cannot be taken for an identifier.
pub(crate) fn connack_property(packet: &[u8], identifier: u8) -> Result<Option<&[u8]>> {
    let mut rest = packet.get(1..).unwrap_or_default();
    take_variable(&mut rest)?;
    take(&mut rest, 2)?;
    let length = take_variable(&mut rest)?;
    let mut rest = take(&mut rest, length)?;
    while let Some((&found, after)) = rest.split_first() {
        rest = after;
        let value = match found {
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => take(&mut rest, 1)?,
            0x13 | 0x21 | 0x22 => take(&mut rest, 2)?,
            0x11 | 0x27 => take(&mut rest, 4)?,
            0x26 => {
                take_prefixed(&mut rest)?;
                take_prefixed(&mut rest)?
            }
            _ => take_prefixed(&mut rest)?,
        };
        if found == identifier {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Adds type, flags and Remaining Length to a body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(variable(body.len()));
    bytes.extend(body);
    bytes
}

/// A string behind its two byte length.
pub(crate) fn string(text: &str) -> Vec<u8> {
    prefixed(text.as_bytes())
}

/// A User Property with its identifier.
pub(crate) fn user_property(name: &str, value: &str) -> Vec<u8> {
    [vec![0x26], string(name), string(value)].concat()
}

/// Bytes behind their two byte length.
pub(crate) fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// Parses `30 05 00 01 ..`; blanks are free.
pub(crate) fn hex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| {
            let digit = character
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok());
            digit.with_context(|| format!("{character:?} is not a hexadecimal digit"))
        })
        .collect::<Result<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    ensure!(rest.is_empty(), "odd number of hexadecimal digits: {text}");
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Shows bytes as they stand in the specification's examples; long packets are cut.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let mut text: Vec<String> = bytes
        .iter()
        .take(SHOWN)
        .map(|byte| format!("{byte:02X}"))
        .collect();
    if bytes.len() > SHOWN {
        text.push(format!(".. ({} bytes)", bytes.len()));
    }
    text.join(" ")
}

fn property_section(properties: &[u8]) -> Vec<u8> {
    [variable(properties.len()), properties.to_vec()].concat()
}

fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let group = u8::try_from(value & 0x7F).unwrap_or(0x7F);
        value >>= 7;
        if value == 0 {
            bytes.push(group);
            return bytes;
        }
        bytes.push(group | 0x80);
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest
        .split_at_checked(count)
        .context("packet is too short")?;
    *rest = tail;
    Ok(head)
}

fn take_u16(rest: &mut &[u8]) -> Result<u16> {
    let bytes: [u8; 2] = take(rest, 2)?.try_into().context("two bytes")?;
    Ok(u16::from_be_bytes(bytes))
}

fn take_prefixed<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = usize::from(take_u16(rest)?);
    take(rest, length)
}

fn take_variable(rest: &mut &[u8]) -> Result<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = *take(rest, 1)?.first().context("one byte")?;
        value |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("variable byte integer is too long")
}

fn is_timeout(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::TimedOut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_packets_are_those_of_the_specification() {
        let cases = [
            (
                Version::V31,
                "10 0F 00 06 4D 51 49 73 64 70 03 02 00 3C 00 01 61",
            ),
            (
                Version::V311,
                "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 61",
            ),
            (
                Version::V5,
                "10 0E 00 04 4D 51 54 54 05 02 00 3C 00 00 01 61",
            ),
        ];
        for (version, expected) in cases {
            assert_eq!(to_hex(&Hello::new(version, "a").encode()), expected);
        }
    }

    #[test]
    fn publish_packets_survive_a_round_trip() {
        let publish = Publish {
            topic: "a/b".into(),
            qos: 1,
            duplicate: true,
            retain: true,
            id: Some(10),
            properties: user_property("a", "1"),
            payload: b"hi".to_vec(),
        };
        let bytes = publish.encode(Version::V5);
        assert_eq!(
            to_hex(&bytes),
            "3B 11 00 03 61 2F 62 00 0A 07 26 00 01 61 00 01 31 68 69"
        );
        assert_eq!(Publish::decode(Version::V5, &bytes).unwrap(), publish);
    }

    #[test]
    fn lengths_take_the_fewest_bytes() {
        for (value, expected) in [
            (0, "00"),
            (127, "7F"),
            (128, "80 01"),
            (16_384, "80 80 01"),
            (268_435_455, "FF FF FF 7F"),
        ] {
            assert_eq!(to_hex(&variable(value)), expected);
        }
    }

    #[test]
    fn connack_property_is_found_behind_others() {
        let connack = hex("20 0F 00 00 0C 26 00 01 27 00 01 27 27 00 00 10 00").unwrap();
        assert_eq!(connack_u32(&connack, 0x27).unwrap(), Some(4096));
        assert_eq!(
            connack_u32(&hex("20 03 00 00 00").unwrap(), 0x27).unwrap(),
            None
        );
    }

    #[test]
    fn hex_refuses_what_is_not_hex() {
        assert!(hex("3").is_err());
        assert!(hex("xx").is_err());
    }
}
