//! The annotated dump: each field of a packet with its place, its bytes and what they mean.
//!
//! Reads the bytes for itself, so that it also shows what there is of a packet that is none: as
//! far as the fields can be told apart.

mod meaning;
mod walk;

use std::{
    fmt,
    io::{self, Write},
};

use mqttstack_codec::{PacketType, ProtocolVersion};

use super::{
    flow::Item,
    style::{Role, Style},
};

/// How many bytes of a field are shown in hex.
const HEX_BYTES_MAX: usize = 8;
/// The width of these bytes.
const HEX_WIDTH: usize = 3 * HEX_BYTES_MAX - 1;
const PLACE_WIDTH: usize = 10;
const NAME_WIDTH: usize = 26;

/// Writes a line for each field of what was found.
pub(crate) fn dump(out: &mut impl Write, item: &Item<'_>, style: Style) -> io::Result<()> {
    let mut walk = Walk {
        out,
        style,
        at: item.offset,
        rest: item.bytes,
        version: item.version,
        indent: "",
        is_secret: false,
        may_hold_secret: item.bytes.first().is_some_and(|first_byte| {
            let packet_type = PacketType::from_u8(first_byte >> 4);
            matches!(packet_type, Some(PacketType::Connect | PacketType::Auth))
        }),
    };
    match walk.packet() {
        Ok(()) | Err(Halt::CutShort) => walk.left_over(),
        Err(Halt::Output(error)) => Err(error),
    }
}

/// A place in a packet, from which the fields are shown one by one.
struct Walk<'a, W> {
    out: W,
    style: Style,
    /// How many bytes of the stream precede the place.
    at: u64,
    /// What follows the place, up to the end of the packet or of its properties.
    rest: &'a [u8],
    version: ProtocolVersion,
    indent: &'static str,
    /// Whether the field at the place is not to be seen by everyone.
    is_secret: bool,
    /// Whether what no field has been made of may hold a password or authentication data.
    may_hold_secret: bool,
}

/// Why a walk does not go on.
enum Halt {
    /// A field does not fit into what is left, or does not end.
    CutShort,
    Output(io::Error),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

type Step<T = ()> = Result<T, Halt>;

impl<'a, W: Write> Walk<'a, W> {
    /// Shows the next bytes as a field, and goes on behind them.
    fn show(&mut self, length: usize, name: &str, value: impl fmt::Display) -> io::Result<()> {
        let (field, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, &[]));
        let end = self.at + field.len() as u64;
        let place = format!("{}..{end}", self.at);
        let name = format!("{}{name}", self.indent);
        let bytes = if self.is_secret {
            "not shown".to_owned()
        } else {
            Hex(field).to_string()
        };
        let aside = format!("{place:>PLACE_WIDTH$}  {bytes:<HEX_WIDTH$}");
        writeln!(
            self.out,
            "{}  {name:<NAME_WIDTH$}  {value}",
            self.style.paint(Role::Aside, aside),
        )?;
        (self.at, self.rest) = (end, rest);
        Ok(())
    }

    /// Returns the next bytes of a field without going on; if they are not all there, shows what
    /// is.
    fn peek(&mut self, length: usize, name: &str) -> Step<&'a [u8]> {
        match self.rest.get(..length) {
            Some(field) => Ok(field),
            None => {
                let all = self.rest.len();
                let cut = format!("cut short: {all} of {length} bytes");
                let cut = self.style.paint(Role::Fault, cut);
                self.show(all, name, cut)?;
                Err(Halt::CutShort)
            }
        }
    }

    /// Shows what no field has been made of.
    fn left_over(&mut self) -> io::Result<()> {
        let length = self.rest.len();
        if length == 0 {
            return Ok(());
        }
        (self.indent, self.is_secret) = ("", self.may_hold_secret);
        let value = format!("{length} bytes");
        let value = self.style.paint(Role::Fault, value);
        self.show(length, "left over", value)
    }
}

/// The first bytes of a field in hex.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_long = self.0.len() > HEX_BYTES_MAX;
        let shown = if is_long {
            HEX_BYTES_MAX - 1
        } else {
            self.0.len()
        };
        let mut separator = "";
        for byte in self.0.iter().take(shown) {
            write!(f, "{separator}{byte:02X}")?;
            separator = " ";
        }
        f.write_str(if is_long { " .." } else { "" })
    }
}

#[cfg(test)]
mod tests;
