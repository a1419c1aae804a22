//! Packets for the log of a developer: bytes as text, long ones cut short, passwords left out.

use core::fmt;

use crate::{
    Connect, Property, Publish, ReasonCodes, Storage, SubscribeFilters, UnsubscribeFilters, Will,
};

/// How many bytes of a payload are shown.
const SHOWN_BYTES_MAX: usize = 64;

/// Bytes as a byte string literal, with how many there are if not all are shown.
struct Shown<'a>(&'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..SHOWN_BYTES_MAX).unwrap_or(self.0);
        write!(f, "b\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "... ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

/// A secret: only its length is shown.
struct Secret(usize);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

impl<S: Storage> fmt::Debug for Connect<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("bridge", &self.bridge)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("properties", &self.properties)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field(
                "password",
                &self
                    .password
                    .as_ref()
                    .map(|word| Secret(word.as_ref().len())),
            )
            .finish()
    }
}

impl<S: Storage> fmt::Debug for Will<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties)
            .field("topic", &self.topic)
            .field("payload", &Shown(self.payload.as_ref()))
            .finish()
    }
}

/// As [`Display`](fmt::Display): binary data may be long, and that of authentication is a secret.
impl fmt::Debug for Property<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<S: Storage> fmt::Debug for Publish<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("delivery", &self.delivery)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("properties", &self.properties)
            .field("payload", &Shown(self.payload.as_ref()))
            .finish()
    }
}

impl<S: Storage> fmt::Debug for SubscribeFilters<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<S: Storage> fmt::Debug for UnsubscribeFilters<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<S: Storage> fmt::Debug for ReasonCodes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use alloc::{format, vec};

    use crate::{Connect, ProtocolVersion, Publish};

    #[test]
    fn password_is_never_shown() {
        let connect: Connect = Connect {
            username: Some("user".into()),
            password: Some("hunter2".into()),
            ..Connect::new(ProtocolVersion::V5, "c")
        };
        let shown = format!("{connect:?}");
        assert!(
            shown.contains("user") && shown.contains("<7 bytes>"),
            "{shown}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn payload_is_shown_as_text_and_cut_short() {
        let publish: Publish = Publish::new("t", &b"hi\x00"[..]);
        assert!(format!("{publish:?}").contains(r#"payload: b"hi\x00""#));
        let publish: Publish = Publish::new("t", vec![b'x'; 1000]);
        let shown = format!("{publish:?}");
        assert!(
            shown.contains("... (1000 bytes)") && shown.len() < 300,
            "{shown}"
        );
    }
}
