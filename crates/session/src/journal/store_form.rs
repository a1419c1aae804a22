//! The written form of what a server stores: one record for each operation, and sessions whole.

use alloc::{boxed::Box, vec::Vec};

use mqttstack_codec::{
    Properties, PropertyScope, QoS, Sender, Shared, SubscriptionOptions, Utf8Bytes, Will,
    validate_topic_name,
};

use super::{
    Change, Operation, ParcelNumber, RecordedPresence, RecordedSubscription, SessionNumber,
    SessionRecord, StoreOperation,
    form::kind,
    format::{Epoch, FormatError, Reader, Record, VERSION, Writer},
    message_form::{read_delivery, read_message, write_message, write_options},
};

/// The bits of the byte before a will.
const WILL_RETAIN: u8 = 0b0000_0100;
const WILL_PROPERTIES: u8 = 0b0000_1000;
const WILL_RESERVED: u8 = 0b1111_0000;

impl StoreOperation {
    /// Appends the operation to `out`, as a record in the [form](crate::SessionState::encode) of all
    /// that is written here.
    ///
    /// | kind | body |
    /// | --- | --- |
    /// | 0x40 session | number of the session, record of the change |
    /// | 0x41 retained | version, deadline, message |
    /// | 0x42 retained removed | version, topic |
    /// | 0x43 parcel | worker, number, count, for each target its key and delivery, message |
    /// | 0x44 parcel taken | worker, number |
    /// | 0x45 parcel passed on | worker and number of the origin, then as 0x43 |
    ///
    /// A change is one of these, or the record of an [`Operation`]:
    ///
    /// | kind | body |
    /// | --- | --- |
    /// | 0x20 begun | key, Client Identifier and its length, then the identity if there is one |
    /// | 0x21 keyed | key |
    /// | 0x22 connected | Session Expiry Interval, then the will if there is one |
    /// | 0x23 disconnected | deadline of the session, then that of the will if there is one |
    /// | 0x24 will published | - |
    /// | 0x25 subscribed | Subscription Options, Subscription Identifier or 0, filter |
    /// | 0x26 unsubscribed | filter |
    /// | 0x27 ended | - |
    ///
    /// A will is a byte (bits 0-1 QoS, 2 RETAIN, 3 properties), the topic and its length, the
    /// properties and their length, and the payload.
    pub fn encode(&self, epoch: Epoch, out: &mut Vec<u8>) {
        let mut out = Writer::new(out, epoch);
        match self {
            Self::Session { session, change } => out.record(kind::SESSION, |out| {
                out.number(session.0);
                change.write(out);
            }),
            Self::Retained {
                message,
                expires_at,
                version,
            } => out.record(kind::RETAINED, |out| {
                out.number(*version);
                out.instant(*expires_at);
                write_message(out, message);
            }),
            Self::RetainedRemoved { topic, version } => {
                out.record(kind::RETAINED_REMOVED, |out| {
                    out.number(*version);
                    out.rest(topic.as_bytes());
                });
            }
            Self::Parcel {
                parcel,
                origin,
                message,
                targets,
            } => out.record(kind_of_parcel(*parcel, *origin), |out| {
                if origin != parcel {
                    write_parcel(out, *origin);
                }
                write_parcel(out, *parcel);
                out.number(u64::try_from(targets.len()).unwrap_or(u64::MAX));
                for (key, options) in targets {
                    out.number(*key);
                    write_options(out, options, None);
                }
                write_message(out, message);
            }),
            Self::ParcelTaken { parcel } => {
                out.record(kind::PARCEL_TAKEN, |out| write_parcel(out, *parcel));
            }
        }
    }

    /// Reads the operation at the head of `bytes`, and moves `bytes` on; `None` if they are empty.
    /// Records that may be skipped are.
    ///
    /// # Errors
    ///
    /// [`FormatError`]; `bytes` are as they were.
    pub fn decode(bytes: &mut &[u8], epoch: Epoch) -> Result<Option<Self>, FormatError> {
        let mut reader = Reader::new(bytes, epoch);
        while let Some(record) = reader.record()? {
            if let Some(operation) = Self::read(record)? {
                *bytes = reader.rest();
                return Ok(Some(operation));
            }
        }
        *bytes = &[];
        Ok(None)
    }

    fn read(record: Record<'_>) -> Result<Option<Self>, FormatError> {
        let mut body = record.body;
        let operation = match record.kind {
            kind::SESSION => {
                let session = SessionNumber(body.number()?);
                let change = body.record()?.ok_or(FormatError::Truncated)?;
                let Some(change) = Change::read(change)? else {
                    return Ok(None);
                };
                Self::Session { session, change }
            }
            kind::RETAINED => Self::Retained {
                version: body.number()?,
                expires_at: body.instant()?,
                message: read_message(&mut body)?,
            },
            kind::RETAINED_REMOVED => Self::RetainedRemoved {
                version: body.number()?,
                topic: read_rest(&mut body, "topic")?,
            },
            kind::PARCEL | kind::PARCEL_PASSED_ON => {
                let origin = read_parcel(&mut body)?;
                let parcel = match record.kind {
                    kind::PARCEL_PASSED_ON => read_parcel(&mut body)?,
                    _ => origin,
                };
                if kind_of_parcel(parcel, origin) != record.kind {
                    return Err(FormatError::OutOfRange { field: "origin" });
                }
                let targets = read_targets(&mut body)?;
                Self::Parcel {
                    parcel,
                    origin,
                    targets,
                    message: read_message(&mut body)?,
                }
            }
            kind::PARCEL_TAKEN => Self::ParcelTaken {
                parcel: read_parcel(&mut body)?,
            },
            _ => return record.skip().map(|()| None),
        };
        body.finish()?;
        Ok(Some(operation))
    }
}

impl Change {
    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Begun {
                client_id,
                identity,
                key,
            } => out.record(kind::BEGUN, |out| {
                out.number(*key);
                out.bytes(client_id.as_bytes());
                if let Some(identity) = identity {
                    out.bytes(identity.as_bytes());
                }
            }),
            Self::Keyed { key } => out.record(kind::KEYED, |out| out.number(*key)),
            Self::Connected {
                session_expiry_interval,
                will,
            } => out.record(kind::CONNECTED, |out| {
                out.number((*session_expiry_interval).into());
                if let Some(will) = will {
                    write_will(out, will);
                }
            }),
            Self::Disconnected {
                expires_at,
                will_at,
            } => out.record(kind::DISCONNECTED, |out| {
                out.instant(*expires_at);
                if let Some(due) = will_at {
                    out.instant(*due);
                }
            }),
            Self::WillPublished => out.record(kind::WILL_PUBLISHED, |_| {}),
            Self::Subscribed {
                filter,
                subscription,
            } => out.record(kind::SUBSCRIBED, |out| {
                out.byte(subscription.options.as_u8());
                out.number(subscription.subscription_id.unwrap_or(0).into());
                out.rest(filter.as_bytes());
            }),
            Self::Unsubscribed { filter } => {
                out.record(kind::UNSUBSCRIBED, |out| out.rest(filter.as_bytes()));
            }
            Self::State(operation) => operation.write(out),
            Self::Ended => out.record(kind::ENDED, |_| {}),
        }
    }

    /// Reads a record; `None` if it is to be skipped.
    fn read(record: Record<'_>) -> Result<Option<Self>, FormatError> {
        let mut body = record.body;
        let change = match record.kind {
            kind::BEGUN => {
                let key = body.number()?;
                let client_id = body.text("client identifier")?.into();
                let identity = match body.is_empty() {
                    true => None,
                    false => Some(body.text("identity")?.into()),
                };
                Self::Begun {
                    client_id,
                    identity,
                    key,
                }
            }
            kind::KEYED => Self::Keyed {
                key: body.number()?,
            },
            kind::CONNECTED => Self::Connected {
                session_expiry_interval: body.number_u32("session expiry interval")?,
                will: match body.is_empty() {
                    true => None,
                    false => Some(Box::new(read_will(&mut body)?)),
                },
            },
            kind::DISCONNECTED => Self::Disconnected {
                expires_at: body.instant()?,
                will_at: match body.is_empty() {
                    true => None,
                    false => Some(body.instant()?),
                },
            },
            kind::WILL_PUBLISHED => Self::WillPublished,
            kind::SUBSCRIBED => {
                let field = "subscription options";
                let options = SubscriptionOptions::from_u8(body.byte()?)
                    .ok_or(FormatError::OutOfRange { field })?;
                let id = body.number_u32("subscription identifier")?;
                Self::Subscribed {
                    subscription: RecordedSubscription {
                        options,
                        subscription_id: (id > 0).then_some(id),
                    },
                    filter: read_rest(&mut body, "filter")?,
                }
            }
            kind::UNSUBSCRIBED => Self::Unsubscribed {
                filter: read_rest(&mut body, "filter")?,
            },
            kind::ENDED => Self::Ended,
            _ => return Ok(Operation::read(record)?.map(Self::State)),
        };
        body.finish()?;
        Ok(Some(change))
    }
}

impl SessionRecord {
    /// Appends the session to `out`: as the shortest list of changes that leads to it, behind one
    /// byte that says the version.
    pub fn encode(&self, epoch: Epoch, out: &mut Vec<u8>) {
        let mut out = Writer::new(out, epoch);
        out.byte(VERSION);
        let begun = Change::Begun {
            client_id: self.client_id.clone(),
            identity: self.identity.clone(),
            key: self.key,
        };
        begun.write(&mut out);
        let session_expiry_interval = match self.presence {
            RecordedPresence::Connected {
                session_expiry_interval,
            } => session_expiry_interval,
            RecordedPresence::Away { .. } => u32::MAX,
        };
        let connected = Change::Connected {
            session_expiry_interval,
            will: self.will.clone(),
        };
        connected.write(&mut out);
        if let RecordedPresence::Away {
            expires_at,
            will_at,
        } = self.presence
        {
            let disconnected = Change::Disconnected {
                expires_at,
                will_at,
            };
            disconnected.write(&mut out);
        }
        for (filter, subscription) in &self.subscriptions {
            let subscribed = Change::Subscribed {
                filter: filter.clone(),
                subscription: *subscription,
            };
            subscribed.write(&mut out);
        }
        self.state.write(&mut out);
    }

    /// Reads a session that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`FormatError`]: the bytes are of a later version, or damaged.
    pub fn decode(bytes: &[u8], epoch: Epoch) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, epoch);
        reader.version()?;
        let first = reader.record()?.ok_or(FormatError::Truncated)?;
        let misplaced = FormatError::MisplacedKind { kind: first.kind };
        let Some(Change::Begun {
            client_id,
            identity,
            key,
        }) = Change::read(first)?
        else {
            return Err(misplaced);
        };
        let mut session = Self::new(client_id, identity, key);
        while let Some(record) = reader.record()? {
            let kind = record.kind;
            if kind == kind::TOTALS {
                let mut body = record.body;
                session.state.read_totals(&mut body)?;
                body.finish()?;
                continue;
            }
            match Change::read(record)? {
                Some(Change::Begun { .. } | Change::Ended) => {
                    return Err(FormatError::MisplacedKind { kind });
                }
                Some(change) => session.apply(change)?,
                None => {}
            }
        }
        Ok(session)
    }
}

fn kind_of_parcel(parcel: ParcelNumber, origin: ParcelNumber) -> u8 {
    match parcel == origin {
        true => kind::PARCEL,
        false => kind::PARCEL_PASSED_ON,
    }
}

fn write_parcel(out: &mut Writer<'_>, parcel: ParcelNumber) {
    out.byte(parcel.worker);
    out.number(parcel.number);
}

fn read_parcel(from: &mut Reader<'_>) -> Result<ParcelNumber, FormatError> {
    Ok(ParcelNumber {
        worker: from.byte()?,
        number: from.number()?,
    })
}

fn read_targets(from: &mut Reader<'_>) -> Result<Vec<(u64, crate::DeliveryOptions)>, FormatError> {
    let count = from.number()?;
    let mut targets = Vec::new();
    for _ in 0..count {
        let key = from.number()?;
        let (options, deadline) = read_delivery(from)?;
        if deadline.is_some() {
            return Err(FormatError::OutOfRange { field: "delivery" });
        }
        targets.push((key, options));
    }
    Ok(targets)
}

fn write_will(out: &mut Writer<'_>, will: &Will<Shared>) {
    let retain = if will.retain { WILL_RETAIN } else { 0 };
    let has_properties = !will.properties.is_empty();
    let properties = if has_properties { WILL_PROPERTIES } else { 0 };
    out.byte(will.qos.as_u8() | retain | properties);
    out.bytes(will.topic.as_bytes());
    if has_properties {
        out.bytes(will.properties.as_bytes());
    }
    out.rest(&will.payload);
}

fn read_will(from: &mut Reader<'_>) -> Result<Will<Shared>, FormatError> {
    let flags = from.byte()?;
    let field = "will";
    let qos = QoS::from_u8(flags & 0b11).ok_or(FormatError::OutOfRange { field })?;
    if flags & WILL_RESERVED != 0 {
        return Err(FormatError::OutOfRange { field });
    }
    let field = "will topic";
    let topic = from.text(field)?;
    validate_topic_name(topic).map_err(|_| FormatError::InvalidText { field })?;
    let properties = match flags & WILL_PROPERTIES {
        0 => Properties::empty(),
        _ => {
            let block = from.bytes()?;
            if block.is_empty() {
                return Err(FormatError::OutOfRange { field });
            }
            Properties::from_encoded(block, PropertyScope::Will, Sender::Client)?.to_shared()
        }
    };
    Ok(Will {
        qos,
        retain: flags & WILL_RETAIN != 0,
        properties,
        topic: Utf8Bytes::from(topic),
        payload: bytes::Bytes::copy_from_slice(from.rest()),
    })
}

/// Reads text that takes the rest of its record.
fn read_rest(from: &mut Reader<'_>, field: &'static str) -> Result<Box<str>, FormatError> {
    let text = core::str::from_utf8(from.rest());
    text.map(Into::into)
        .map_err(|_| FormatError::InvalidText { field })
}
