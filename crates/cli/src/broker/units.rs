//! Durations and sizes as people write them: `"30s"`, `"64MiB"`. A number without a unit is an
//! error, so that nobody has to guess; so is one beyond its bounds.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};
use toml::Value;

/// A length of time with a unit: `"250ms"`, `"30s"`, `"5m"`, `"12h"`, `"7d"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Time(pub(super) Duration);

/// A number of bytes with a unit: `"500B"`, `"64KiB"`, `"16MiB"`, `"2GiB"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Size(pub(super) u64);

/// A [`Time`] in whole seconds, as many as MQTT can express.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seconds(pub(super) u32);

/// A [`Size`] that fits into 32 bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Size32(pub(super) u32);

/// A [`Size`] that a socket's buffer can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BufferSize(usize);

/// A number within bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Within<T, const LEAST: u32, const MOST: u32>(pub(super) T);

const TIME_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const SIZE_UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let millis = value.as_str().and_then(|text| parse(text, &TIME_UNITS));
        millis.map(Duration::from_millis).map(Self).ok_or_else(|| {
            D::Error::custom(format!("{value} is not a time such as \"30s\" or \"5m\""))
        })
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Time(time) = Time::deserialize(deserializer)?;
        match u32::try_from(time.as_secs()) {
            Ok(seconds) if time.subsec_nanos() == 0 => Ok(Self(seconds)),
            Ok(_) => Err(D::Error::custom(format!(
                "{time:?} is not a number of whole seconds"
            ))),
            Err(_) => Err(D::Error::custom(format!(
                "{time:?} is more than the {} seconds that MQTT can express",
                u32::MAX
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let size = value.as_str().and_then(|text| parse(text, &SIZE_UNITS));
        size.map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is not a size such as \"500B\", \"64KiB\" or \"1MiB\""
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Size32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Size(size) = Size::deserialize(deserializer)?;
        u32::try_from(size).map(Self).map_err(|_| {
            D::Error::custom(format!(
                "{size}B is too much: less than \"4GiB\" is possible"
            ))
        })
    }
}

impl BufferSize {
    /// Less than this the system does not take; it would round up without a word.
    const LEAST: u64 = 4 << 10;
    const MOST: u64 = 1 << 30;

    pub(super) const fn bytes(self) -> usize {
        self.0
    }
}

impl<'de> Deserialize<'de> for BufferSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Size(size) = Size::deserialize(deserializer)?;
        let is_possible = (Self::LEAST..=Self::MOST).contains(&size);
        let bytes = usize::try_from(size).ok().filter(|_| is_possible);
        bytes.map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "{size}B is no size for a buffer: \"4KiB\" to \"1GiB\""
            ))
        })
    }
}

impl<'de, T, const LEAST: u32, const MOST: u32> Deserialize<'de> for Within<T, LEAST, MOST>
where
    T: TryFrom<i64>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let bounds = i64::from(LEAST)..=i64::from(MOST);
        value
            .as_integer()
            .filter(|number| bounds.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .map(Self)
            .ok_or_else(|| {
                D::Error::custom(format!("{value} is not a number from {LEAST} to {MOST}"))
            })
    }
}

/// Reads a number and one of the units.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_required_and_understood() {
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("250ms", Some(250)),
            ("5m", Some(300_000)),
            ("7 d", Some(604_800_000)),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse(text, &TIME_UNITS), expected, "{text}");
        }
        for (text, expected) in [
            ("64KiB", Some(65_536)),
            ("500B", Some(500)),
            ("1MB", None),
            ("1", None),
        ] {
            assert_eq!(parse(text, &SIZE_UNITS), expected, "{text}");
        }
    }
}
