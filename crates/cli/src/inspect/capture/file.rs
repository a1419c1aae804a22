//! Frames out of a capture file, pcap or pcapng.
//!
//! One frame is in memory at a time, and of what a file claims to hold only what is there.

use std::io::{self, BufReader, Read};

use jiff::Timestamp;

/// How many bytes a frame may have: far more than any interface carries.
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// How many interfaces a section of a pcapng file may describe.
const INTERFACES_MAX: usize = 65_536;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// The option of an interface that says how fine its time is.
const IF_TSRESOL: u16 = 9;

/// Why a capture cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    #[error("neither a pcap nor a pcapng file")]
    UnknownMagic,
    #[error("ends in the middle of a frame")]
    CutShort,
    #[error("frame or block of {size} bytes exceeds the limit of {FRAME_BYTES_MAX}")]
    TooLarge { size: u32 },
    #[error("block of type 0x{block_type:08X} cannot have {size} bytes")]
    BadBlock { block_type: u32, size: u32 },
    #[error("more than {INTERFACES_MAX} interfaces")]
    TooManyInterfaces,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A frame as it was captured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Frame<'a> {
    /// The number of the link type, as the registry of pcap gives it.
    pub(crate) link: u32,
    pub(crate) time: Option<Timestamp>,
    pub(crate) bytes: &'a [u8],
}

/// Reads a capture file frame by frame.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    reader: BufReader<R>,
    order: Order,
    kind: Kind,
    /// The record or block at hand.
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    Little,
    Big,
}

#[derive(Debug)]
enum Kind {
    Pcap { link: u32, ticks_per_second: u64 },
    PcapNg { interfaces: Vec<Interface> },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Interface {
    link: u32,
    /// `None` if the file asks for more than there is room for.
    ticks_per_second: Option<u64>,
}

/// Where a frame lies in the buffer.
struct Place {
    link: u32,
    time: Option<Timestamp>,
    start: usize,
    length: usize,
}

impl<R: Read> Frames<R> {
    /// Reads the header of a file.
    pub(crate) fn new(mut reader: BufReader<R>) -> Result<Self, CaptureError> {
        let mut magic = [0; 4];
        if !read_all(&mut reader, &mut magic)? {
            return Err(CaptureError::UnknownMagic);
        }
        let (order, ticks_per_second) = match magic {
            [0xA1, 0xB2, 0xC3, 0xD4] => (Order::Big, 1_000_000),
            [0xD4, 0xC3, 0xB2, 0xA1] => (Order::Little, 1_000_000),
            [0xA1, 0xB2, 0x3C, 0x4D] => (Order::Big, 1_000_000_000),
            [0x4D, 0x3C, 0xB2, 0xA1] => (Order::Little, 1_000_000_000),
            [0x0A, 0x0D, 0x0D, 0x0A] => {
                let mut frames = Self {
                    reader,
                    order: Order::Little,
                    kind: Kind::PcapNg {
                        interfaces: Vec::new(),
                    },
                    buffer: Vec::new(),
                };
                frames.section()?;
                return Ok(frames);
            }
            _ => return Err(CaptureError::UnknownMagic),
        };
        let mut header = [0; 20];
        read_exact(&mut reader, &mut header)?;
        let kind = Kind::Pcap {
            // The upper bits say other things than the link type.
            link: order.u32(&header, 16) & 0xFFFF,
            ticks_per_second,
        };
        Ok(Self {
            reader,
            order,
            kind,
            buffer: Vec::new(),
        })
    }

    /// Returns the next frame; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let place = match self.kind {
            Kind::Pcap {
                link,
                ticks_per_second,
            } => self.record(link, ticks_per_second)?,
            Kind::PcapNg { .. } => self.block_with_frame()?,
        };
        Ok(place.map(|place| {
            let from = self.buffer.get(place.start..).unwrap_or_default();
            Frame {
                link: place.link,
                time: place.time,
                bytes: from.get(..place.length).unwrap_or(from),
            }
        }))
    }

    /// Returns whether reading on may take its time: a capture may be a live one.
    pub(crate) fn may_wait(&self) -> bool {
        self.reader.buffer().is_empty()
    }

    /// Reads a record of a pcap file.
    fn record(&mut self, link: u32, ticks_per_second: u64) -> Result<Option<Place>, CaptureError> {
        let Some(header) = self.header::<16>()? else {
            return Ok(None);
        };
        let seconds = self.order.u32(&header, 0);
        let fraction = self.order.u32(&header, 4);
        let length = self.order.u32(&header, 8);
        self.fill(length)?;
        let ticks = u64::from(seconds) * ticks_per_second + u64::from(fraction);
        Ok(Some(Place {
            link,
            time: time(ticks, ticks_per_second),
            start: 0,
            length: self.buffer.len(),
        }))
    }

    /// Reads blocks of a pcapng file up to one with a frame.
    fn block_with_frame(&mut self) -> Result<Option<Place>, CaptureError> {
        loop {
            let Some(header) = self.header::<8>()? else {
                return Ok(None);
            };
            // This type reads the same in both orders; the order of its length follows.
            if header.starts_with(&SECTION_HEADER.to_be_bytes()) {
                self.section_of_length(header)?;
                continue;
            }
            let block_type = self.order.u32(&header, 0);
            let size = self.order.u32(&header, 4);
            let bad = CaptureError::BadBlock { block_type, size };
            // Type and length before the body, the length again behind it.
            let Some(length) = size
                .checked_sub(12)
                .filter(|length| length.is_multiple_of(4))
            else {
                return Err(bad);
            };
            let fixed = match block_type {
                INTERFACE_DESCRIPTION => 8,
                SIMPLE_PACKET => 4,
                ENHANCED_PACKET | OBSOLETE_PACKET => 20,
                _ => {
                    self.skip(u64::from(length) + 4)?;
                    continue;
                }
            };
            if length < fixed {
                return Err(bad);
            }
            self.fill(length)?;
            self.skip(4)?;
            match block_type {
                INTERFACE_DESCRIPTION => self.interface()?,
                SIMPLE_PACKET => return Ok(Some(self.simple_packet())),
                _ => return Ok(Some(self.packet(block_type))),
            }
        }
    }

    /// Reads a section header whose type has been read.
    fn section(&mut self) -> Result<(), CaptureError> {
        let mut header = [0; 8];
        let (_, length) = header.split_at_mut(4);
        read_exact(&mut self.reader, length)?;
        self.section_of_length(header)
    }

    fn section_of_length(&mut self, header: [u8; 8]) -> Result<(), CaptureError> {
        let mut magic = [0; 4];
        read_exact(&mut self.reader, &mut magic)?;
        self.order = match magic {
            [0x1A, 0x2B, 0x3C, 0x4D] => Order::Big,
            [0x4D, 0x3C, 0x2B, 0x1A] => Order::Little,
            _ => return Err(CaptureError::UnknownMagic),
        };
        let size = self.order.u32(&header, 4);
        // Type, length, magic, version, section length, options, length again.
        if size < 28 || !size.is_multiple_of(4) {
            return Err(CaptureError::BadBlock {
                block_type: SECTION_HEADER,
                size,
            });
        }
        self.skip(u64::from(size) - 12)?;
        self.kind = Kind::PcapNg {
            interfaces: Vec::new(),
        };
        Ok(())
    }

    /// Takes the interface that the buffer describes.
    fn interface(&mut self) -> Result<(), CaptureError> {
        let order = self.order;
        let link = u32::from(order.u16(&self.buffer, 0));
        let mut ticks_per_second = Some(1_000_000);
        let mut options = self.buffer.get(8..).unwrap_or_default();
        while options.len() >= 4 {
            let (code, length) = (order.u16(options, 0), usize::from(order.u16(options, 2)));
            if code == IF_TSRESOL && length >= 1 {
                ticks_per_second = options.get(4).and_then(|byte| resolution(*byte));
            }
            let end = 4 + length.next_multiple_of(4);
            options = options.get(end..).unwrap_or_default();
        }
        if let Kind::PcapNg { interfaces } = &mut self.kind {
            if interfaces.len() >= INTERFACES_MAX {
                return Err(CaptureError::TooManyInterfaces);
            }
            interfaces.push(Interface {
                link,
                ticks_per_second,
            });
        }
        Ok(())
    }

    fn interface_of(&self, index: u32) -> Option<Interface> {
        match &self.kind {
            Kind::PcapNg { interfaces } => interfaces.get(usize::try_from(index).ok()?).copied(),
            Kind::Pcap { .. } => None,
        }
    }

    fn simple_packet(&self) -> Place {
        let interface = self.interface_of(0);
        Place {
            link: interface.map_or(u32::MAX, |interface| interface.link),
            time: None,
            start: 4,
            length: index(self.order.u32(&self.buffer, 0)),
        }
    }

    fn packet(&self, block_type: u32) -> Place {
        let order = self.order;
        let number = if block_type == OBSOLETE_PACKET {
            u32::from(order.u16(&self.buffer, 0))
        } else {
            order.u32(&self.buffer, 0)
        };
        let interface = self.interface_of(number);
        let high = u64::from(order.u32(&self.buffer, 4));
        let ticks = high << 32 | u64::from(order.u32(&self.buffer, 8));
        let ticks_per_second = interface.and_then(|interface| interface.ticks_per_second);
        Place {
            // A frame of an interface that does not exist is of no link type.
            link: interface.map_or(u32::MAX, |interface| interface.link),
            time: ticks_per_second.and_then(|per_second| time(ticks, per_second)),
            start: 20,
            length: index(order.u32(&self.buffer, 12)),
        }
    }

    /// Reads a header, or returns `None` at the end of the file.
    fn header<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CaptureError> {
        let mut header = [0; N];
        let (first, rest) = header.split_at_mut(1);
        loop {
            match self.reader.read(first) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        read_exact(&mut self.reader, rest)?;
        Ok(Some(header))
    }

    /// Fills the buffer with as many bytes as a file says there are.
    fn fill(&mut self, length: u32) -> Result<(), CaptureError> {
        if length > FRAME_BYTES_MAX {
            return Err(CaptureError::TooLarge { size: length });
        }
        self.buffer.clear();
        let mut body = (&mut self.reader).take(u64::from(length));
        if body.read_to_end(&mut self.buffer)? < index(length) {
            return Err(CaptureError::CutShort);
        }
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<(), CaptureError> {
        let skipped = io::copy(&mut (&mut self.reader).take(length), &mut io::sink())?;
        if skipped < length {
            return Err(CaptureError::CutShort);
        }
        Ok(())
    }
}

impl Order {
    /// Returns the number at a place; 0 if there is none.
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let number = bytes.get(at..).and_then(<[u8]>::first_chunk);
        number.copied().map_or(0, |bytes| match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }

    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let number = bytes.get(at..).and_then(<[u8]>::first_chunk);
        number.copied().map_or(0, |bytes| match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }
}

/// Returns how many ticks a second has: a power of ten, or of two if the upper bit is set.
fn resolution(byte: u8) -> Option<u64> {
    let exponent = u32::from(byte & 0x7F);
    if byte & 0x80 == 0 {
        10_u64.checked_pow(exponent)
    } else {
        2_u64.checked_pow(exponent)
    }
}

fn time(ticks: u64, ticks_per_second: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(ticks / ticks_per_second).ok()?;
    let rest = u128::from(ticks % ticks_per_second) * 1_000_000_000;
    let nanoseconds = i32::try_from(rest / u128::from(ticks_per_second)).ok()?;
    Timestamp::new(seconds, nanoseconds).ok()
}

/// Fills the buffer from a file that must not end before.
fn read_exact(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), CaptureError> {
    match read_all(reader, buffer)? {
        true => Ok(()),
        false => Err(CaptureError::CutShort),
    }
}

/// Fills the buffer; returns whether the file was long enough.
fn read_all(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
