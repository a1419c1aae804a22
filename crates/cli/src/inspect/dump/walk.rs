//! The order of the fields in each packet.

use std::io::Write;

use mqttstack_codec::{PacketType, PropertyId, ProtocolVersion};

use super::{
    super::style::Role,
    Halt, Step, Walk,
    meaning::{self, Shape, Shown},
};

const RETAIN: u8 = 0b0001;
const DUP: u8 = 0b1000;
const BRIDGE: u8 = 0x80;

/// The Connect Flags that decide which fields follow.
const WILL: u8 = 0b0000_0100;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

impl<'a, W: Write> Walk<'a, W> {
    /// Shows a packet from its first byte on.
    pub(super) fn packet(&mut self) -> Step {
        let Some(first_byte) = self.rest.first().copied() else {
            return Ok(());
        };
        let flags = first_byte & 0x0F;
        let Some(packet_type) = PacketType::from_u8(first_byte >> 4) else {
            self.show(1, "packet type", "reserved")?;
            return Ok(());
        };
        let kind = match (packet_type, flags) {
            (PacketType::Publish, _) => publish_flags(flags),
            (_, 0) => packet_type.to_string(),
            (PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe, 0b0010) => {
                packet_type.to_string()
            }
            (_, flags) => format!("{packet_type}, flags 0x{flags:X}"),
        };
        self.show(1, "packet type", kind)?;
        self.variable("remaining length", |length| length.to_string())?;
        self.body(packet_type, flags)
    }

    fn body(&mut self, packet_type: PacketType, flags: u8) -> Step {
        match packet_type {
            PacketType::Connect => self.connect(),
            PacketType::ConnAck => self.connack(),
            PacketType::Publish => self.publish(flags),
            PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
                self.packet_id()?;
                self.reason(packet_type)
            }
            PacketType::Subscribe => {
                self.packet_id()?;
                self.properties("")?;
                while !self.rest.is_empty() {
                    self.text("topic filter")?;
                    self.byte("options", subscription_options)?;
                }
                Ok(())
            }
            PacketType::Unsubscribe => {
                self.packet_id()?;
                self.properties("")?;
                while !self.rest.is_empty() {
                    self.text("topic filter")?;
                }
                Ok(())
            }
            PacketType::SubAck | PacketType::UnsubAck => {
                self.packet_id()?;
                self.properties("")?;
                while !self.rest.is_empty() {
                    self.code(packet_type)?;
                }
                Ok(())
            }
            PacketType::PingReq | PacketType::PingResp => Ok(()),
            PacketType::Disconnect | PacketType::Auth => self.reason(packet_type),
        }
    }

    fn connect(&mut self) -> Step {
        self.text("protocol name")?;
        let level = self.byte("protocol level", |level| {
            let version = match level & !BRIDGE {
                3 => "MQTT 3.1",
                4 => "MQTT 3.1.1",
                5 => "MQTT 5.0",
                _ => "unknown",
            };
            let bridge = if level & BRIDGE == 0 { "" } else { ", bridge" };
            format!("{version}{bridge}")
        })?;
        let is_v31 = level & !BRIDGE == 3;
        let flags = self.byte("connect flags", connect_flags)?;
        self.two_bytes("keep alive", |seconds| match seconds {
            0 => "off".to_owned(),
            seconds => format!("{seconds} s"),
        })?;
        self.properties("")?;
        self.text("client identifier")?;
        if flags & WILL != 0 {
            self.properties("will ")?;
            self.text("will topic")?;
            self.text("will payload")?;
        }
        // MQTT 3.1 lets a CONNECT end before the fields that its flags announce.
        if flags & USER_NAME != 0 && !(is_v31 && self.rest.is_empty()) {
            self.text("user name")?;
        }
        if flags & PASSWORD != 0 && !(is_v31 && self.rest.is_empty()) {
            self.secret(0, "password")?;
        }
        Ok(())
    }

    fn connack(&mut self) -> Step {
        self.byte("acknowledge flags", |flags| {
            let names = [(0x01, "session present"), (0xFE, "reserved bits")];
            meaning::flags(flags, &names)
        })?;
        self.code(PacketType::ConnAck)?;
        self.properties("")
    }

    fn publish(&mut self, flags: u8) -> Step {
        self.text("topic name")?;
        if flags & 0b0110 != 0 {
            self.packet_id()?;
        }
        self.properties("")?;
        let payload = self.rest;
        if !payload.is_empty() {
            self.show(payload.len(), "payload", Shown(payload))?;
        }
        Ok(())
    }

    /// Shows a reason code and properties, either of which the end of the packet may replace.
    fn reason(&mut self, packet_type: PacketType) -> Step {
        if self.version.has_properties() && !self.rest.is_empty() {
            self.code(packet_type)?;
            if !self.rest.is_empty() {
                self.properties("")?;
            }
        }
        Ok(())
    }

    fn code(&mut self, packet_type: PacketType) -> Step {
        if self.version.has_properties() {
            self.byte("reason code", |code| meaning::reason(packet_type, code))?;
        } else {
            self.byte("return code", |code| {
                meaning::return_code(packet_type, code)
            })?;
        }
        Ok(())
    }

    /// Shows a property block with its length; MQTT 3.x has none.
    fn properties(&mut self, whose: &str) -> Step {
        if self.version != ProtocolVersion::V5 {
            return Ok(());
        }
        let name = format!("{whose}property length");
        let length = self.variable(&name, |length| length.to_string())?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (block, after) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, &[]));
        self.rest = block;
        self.indent = "  ";
        let shown = self.block();
        self.indent = "";
        self.rest = after;
        shown
    }

    fn block(&mut self) -> Step {
        while let Some(id) = self.rest.first() {
            let Some(id) = PropertyId::from_u8(*id) else {
                let (length, id) = (self.rest.len(), format!("0x{id:02X}"));
                self.is_secret = self.may_hold_secret;
                self.show(length, "unknown property", id)?;
                self.is_secret = false;
                break;
            };
            self.property(id)?;
        }
        Ok(())
    }

    /// Shows a property: its identifier and its value are one line.
    fn property(&mut self, id: PropertyId) -> Step {
        let name = id.name();
        match meaning::shape(id) {
            Shape::Byte => self.number_property(id, 1),
            Shape::TwoBytes => self.number_property(id, 2),
            Shape::FourBytes => self.number_property(id, 4),
            Shape::Variable => {
                let value = self.rest.get(1..).unwrap_or_default();
                match variable(value) {
                    Some((number, length)) => {
                        self.show(1 + length, name, meaning::number(id, number))?;
                        Ok(())
                    }
                    None => self.endless(1, name),
                }
            }
            Shape::Text | Shape::Binary => {
                let (length, value) = self.peek_field(1, name)?;
                self.show(length, name, Shown(value))?;
                Ok(())
            }
            Shape::Secret => self.secret(1, name),
            Shape::Pair => {
                let (name_end, key) = self.peek_field(1, name)?;
                let (length, value) = self.peek_field(name_end, name)?;
                self.show(length, name, format!("{} = {}", Shown(key), Shown(value)))?;
                Ok(())
            }
        }
    }

    fn number_property(&mut self, id: PropertyId, length: usize) -> Step {
        let bytes = self.peek(1 + length, id.name())?;
        let number = bytes
            .iter()
            .skip(1)
            .fold(0, |number, byte| number << 8 | u32::from(*byte));
        self.show(1 + length, id.name(), meaning::number(id, number))?;
        Ok(())
    }

    fn byte(&mut self, name: &str, meaning: impl FnOnce(u8) -> String) -> Step<u8> {
        let byte = self.peek(1, name)?.first().copied().unwrap_or_default();
        self.show(1, name, meaning(byte))?;
        Ok(byte)
    }

    fn two_bytes(&mut self, name: &str, meaning: impl FnOnce(u16) -> String) -> Step {
        let number = big_endian(self.peek(2, name)?);
        self.show(2, name, meaning(number))?;
        Ok(())
    }

    fn packet_id(&mut self) -> Step {
        self.two_bytes("packet identifier", |id| id.to_string())
    }

    /// Shows a field with a two-byte length, of text or of bytes.
    fn text(&mut self, name: &str) -> Step {
        let (length, value) = self.peek_field(0, name)?;
        self.show(length, name, Shown(value))?;
        Ok(())
    }

    /// Shows how long a field is that begins `at` so many bytes from here, but not its value.
    fn secret(&mut self, at: usize, name: &str) -> Step {
        self.is_secret = true;
        let (length, value) = self.peek_field(at, name)?;
        self.show(length, name, format!("{} bytes", value.len()))?;
        self.is_secret = false;
        Ok(())
    }

    fn variable(&mut self, name: &str, meaning: impl FnOnce(u32) -> String) -> Step<u32> {
        match variable(self.rest) {
            Some((value, length)) => {
                self.show(length, name, meaning(value))?;
                Ok(value)
            }
            None => self.endless(0, name).map(|()| 0),
        }
    }

    /// Shows a Variable Byte Integer, `at` so many bytes from here, that has no end.
    fn endless(&mut self, at: usize, name: &str) -> Step {
        let end = at + 4;
        if self.rest.len() < end {
            return self.peek(self.rest.len() + 1, name).map(|_| ());
        }
        let fault = "continues past its fourth byte";
        self.show(end, name, self.style.paint(Role::Fault, fault))?;
        Err(Halt::CutShort)
    }

    /// Returns where a field ends that begins `at` so many bytes from here, and its value.
    fn peek_field(&mut self, at: usize, name: &str) -> Step<(usize, &'a [u8])> {
        let length = self.peek(at + 2, name)?.get(at..).unwrap_or_default();
        let end = at + 2 + usize::from(big_endian(length));
        let value = self.peek(end, name)?.get(at + 2..).unwrap_or_default();
        Ok((end, value))
    }
}

/// Returns a Variable Byte Integer and its length, if there is one.
fn variable(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

fn big_endian(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u16::from(*byte))
}

fn publish_flags(flags: u8) -> String {
    let dup = if flags & DUP == 0 { "" } else { ", DUP" };
    let retain = if flags & RETAIN == 0 { "" } else { ", RETAIN" };
    format!("PUBLISH, QoS {}{dup}{retain}", flags >> 1 & 0b11)
}

fn connect_flags(flags: u8) -> String {
    let will_qos = match flags >> 3 & 0b11 {
        0 => "",
        1 => "will QoS 1",
        2 => "will QoS 2",
        _ => "will QoS 3",
    };
    let names = [
        (USER_NAME, "user name"),
        (PASSWORD, "password"),
        (0b0010_0000, "will retain"),
        (0b0001_1000, will_qos),
        (WILL, "will"),
        (0b0000_0010, "clean start"),
        (0b0000_0001, "reserved bit"),
    ];
    meaning::flags(flags, &names)
}

fn subscription_options(options: u8) -> String {
    let qos = format!("QoS {}", options & 0b11);
    let retained = match options >> 4 & 0b11 {
        1 => "retained if new",
        2 => "no retained",
        _ => "retain handling 3",
    };
    let names = [
        (0b0000_0100, "no local"),
        (0b0000_1000, "retain as published"),
        (0b0011_0000, retained),
        (0b1100_0000, "reserved bits"),
    ];
    match options & !0b11 {
        0 => qos,
        others => format!("{qos}, {}", meaning::flags(others, &names)),
    }
}
