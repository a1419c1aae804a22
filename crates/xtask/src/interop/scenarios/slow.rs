//! A subscriber that reads nothing: the messages for it pile up, and nobody else notices.

use anyhow::{Result, ensure};

use super::{MEBIBYTE, Test, pattern};
use crate::interop::wire::Publish;
use crate::interop::{Stage, Version};

const PAYLOAD: usize = 64 * 1024;

/// Far more than the sockets of the sleeper hold.
const SENT: usize = 128 * MEBIBYTE;

/// What a broker may keep for one sleeper, and all else that it needs.
const RESIDENT_MAX: usize = 512 * MEBIBYTE;

pub(super) fn tests() -> Vec<Test> {
    let test = |version| {
        let name = format!("a subscriber that reads nothing stalls nobody: raw {version}");
        Test::new(name, move |stage| stalls_nobody(stage, version))
    };
    Version::ALL.map(test).into()
}

fn stalls_nobody(stage: &Stage<'_>, version: Version) -> Result<()> {
    let mut sleeper = stage.wire(version, "sleeper")?;
    sleeper.subscribe(version, "flood", 0)?;
    let mut reader = stage.wire(version, "reader")?;
    reader.subscribe(version, "flood", 0)?;
    let mut publisher = stage.wire(version, "pub")?;
    let mut publish = Publish {
        topic: "flood".into(),
        payload: pattern(PAYLOAD),
        ..Publish::default()
    };
    for number in 0..SENT / PAYLOAD {
        publish.payload.splice(..8, number.to_be_bytes());
        publisher.send(&publish.encode(version))?;
        let got = reader.publish(version)?;
        ensure!(
            got == publish,
            "message {number} is not the one that was sent"
        );
    }
    publisher.ping()?;
    reader.ping()?;
    let resident = stage.broker_resident_bytes()?;
    ensure!(
        resident < RESIDENT_MAX,
        "the broker holds {} MiB",
        resident / MEBIBYTE
    );
    // What is left for the sleeper is a run of whole packets, in order, or the end.
    let mut last = None;
    while let Ok(got) = sleeper.publish(version) {
        let number = got.payload.get(..8).map(<[u8]>::to_vec);
        ensure!(
            number > last,
            "the sleeper gets message {number:?} after {last:?}"
        );
        last = number;
        if last.as_deref() == publish.payload.get(..8) {
            break;
        }
    }
    Ok(())
}
