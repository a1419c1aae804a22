//! What a client is told once: who it is, what it asks of the server, when it tries again.

use alloc::{string::String, sync::Arc};
use core::time::Duration;

use bytes::Bytes;
use mqttstack_codec::{
    Connect, EncodeError, Packet, Properties, PropertyError, PropertyId, ProtocolVersion, Shared,
    Utf8Bytes, Will,
};
use mqttstack_limits::Limits;
use mqttstack_session::client::LostSession;

use super::ReconnectPolicy;

/// Whether a connection begins with an empty session.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum CleanStart {
    /// Every connection does.
    #[default]
    Always,
    /// The first one does; reconnects resume the session.
    ///
    /// In 3.x the server forgets a session that began empty when its connection ends, so the first
    /// interruption loses what the server had for the client; what the client has is subject to
    /// [`Resubscribe`] and [`LostSession`]. The second connection begins a session that later ones
    /// resume. Where that matters, use 5.0, or [`Never`](Self::Never) with an identifier of one's own.
    FirstOnly,
    /// None does: the session of an earlier run is resumed, if the server has it.
    Never,
}

/// What happens to subscriptions when a connection comes back.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Resubscribe {
    /// The application subscribes again by itself.
    Never,
    /// The client subscribes again if the server has lost the session.
    #[default]
    IfSessionLost,
    /// The client subscribes again in any case, which also fetches retained messages anew.
    Always,
}

/// The settings of a client.
///
/// ```
/// use mqttstack_client::codec::ProtocolVersion;
/// use mqttstack_client::core::Settings;
///
/// let mut settings = Settings::new("sensor-7");
/// settings.version = ProtocolVersion::V311;
/// settings.keep_alive = 30;
/// assert!(settings.check().is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The protocol version. Default 5.0.
    pub version: ProtocolVersion,
    /// The Client Identifier. Empty, the server chooses one (not in 3.1, and only with a session
    /// that begins anew); one that a 5.0 server has assigned is kept for reconnects.
    pub client_id: String,
    /// Whether connections begin with an empty session. Default: all of them do.
    pub clean_start: CleanStart,
    /// For how many seconds the server keeps the session after a connection; 5.0 only. `None`, the
    /// default, is 0 with [`CleanStart::Always`] and for ever otherwise, which is what 3.x does.
    pub session_expiry: Option<u32>,
    /// The Keep Alive in seconds; 0 is off. Default 60. A 5.0 server may overrule it.
    pub keep_alive: u16,
    /// The User Name.
    pub username: Option<String>,
    /// The Password.
    pub password: Option<Bytes>,
    /// The Will Message.
    pub will: Option<Will<Shared>>,
    /// Further properties of CONNECT, such as User Properties and the Authentication Method. The
    /// limits and `session_expiry` provide theirs.
    pub properties: Properties<Shared>,
    /// Whether this client is a bridge and says so to a 3.x server (private bit 0x80 of the level);
    /// a server that refuses it is connected to without. Default false.
    pub bridge: bool,
    /// What the server may send, and how much may wait.
    pub limits: Arc<Limits>,
    /// How long, while a PINGRESP is awaited, no byte may move in either direction; then the
    /// connection is given up. Default 10 s.
    pub ping_timeout: Duration,
    /// What becomes of unfinished messages when the server has lost the session.
    pub lost_session: LostSession,
    /// What becomes of subscriptions when the connection comes back.
    pub resubscribe: Resubscribe,
    /// When to try again.
    pub reconnect: ReconnectPolicy,
    /// How many SUBSCRIBE and UNSUBSCRIBE requests may be unfinished. Default 1,000; a further one
    /// is refused.
    pub requests_max: usize,
}

/// Why settings cannot make a connection.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// The session is to outlive the connection, or the version is 3.1, but it has no name.
    #[error("this session needs a client identifier")]
    ClientIdRequired,
    /// CONNECT cannot be expressed in the protocol version.
    #[error("CONNECT cannot be sent: {0}")]
    Encode(#[from] EncodeError),
    /// A property of CONNECT is not valid.
    #[error("CONNECT cannot be sent: {0}")]
    Property(#[from] PropertyError),
}

impl Settings {
    /// Returns the defaults with a Client Identifier.
    #[must_use]
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            version: ProtocolVersion::V5,
            client_id: client_id.into(),
            clean_start: CleanStart::default(),
            session_expiry: None,
            keep_alive: 60,
            username: None,
            password: None,
            will: None,
            properties: Properties::empty(),
            bridge: false,
            limits: Arc::default(),
            ping_timeout: Duration::from_secs(10),
            lost_session: LostSession::default(),
            resubscribe: Resubscribe::default(),
            reconnect: ReconnectPolicy::default(),
            requests_max: 1_000,
        }
    }

    /// Checks that a connection can be asked for with these settings.
    ///
    /// # Errors
    ///
    /// [`SettingsError`].
    ///
    /// # Specification
    ///
    /// v3.1.1 MQTT-3.1.3-7.
    pub fn check(&self) -> Result<(), SettingsError> {
        let is_clean = self.clean_start == CleanStart::Always;
        let may_be_empty = match self.version {
            ProtocolVersion::V31 => false,
            ProtocolVersion::V311 => is_clean,
            ProtocolVersion::V5 => true,
        };
        if self.client_id.is_empty() && !may_be_empty {
            return Err(SettingsError::ClientIdRequired);
        }
        let connect = self.connect(is_clean, self.bridge)?;
        Packet::Connect(connect).encoded_len(self.version)?;
        Ok(())
    }

    /// Returns the CONNECT of a connection.
    pub(super) fn connect(
        &self,
        clean_start: bool,
        bridge: bool,
    ) -> Result<Connect<Shared>, PropertyError> {
        Ok(Connect {
            version: self.version,
            bridge,
            clean_start,
            keep_alive: self.keep_alive,
            properties: self.connect_properties()?,
            client_id: Utf8Bytes::from(&*self.client_id),
            will: self.will.clone(),
            username: self.username.as_deref().map(Utf8Bytes::from),
            password: self.password.clone(),
        })
    }

    fn connect_properties(&self) -> Result<Properties<Shared>, PropertyError> {
        if self.version != ProtocolVersion::V5 {
            return Ok(self.properties.clone());
        }
        let session_expiry = self.session_expiry.unwrap_or(match self.clean_start {
            CleanStart::Always => 0,
            CleanStart::FirstOnly | CleanStart::Never => u32::MAX,
        });
        let others = self.properties.iter();
        let others = others.filter(|other| other.id() != PropertyId::SessionExpiryInterval);
        let mut builder = Properties::builder();
        if session_expiry > 0 {
            builder = builder.session_expiry_interval(session_expiry);
        }
        builder.properties(others).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_client_id_needs_a_clean_session() {
        // v3.1.1 MQTT-3.1.3-7
        use ProtocolVersion::{V5, V31, V311};
        for (version, clean_start, is_fine) in [
            (V31, CleanStart::Always, false),
            (V311, CleanStart::Always, true),
            (V311, CleanStart::FirstOnly, false),
            (V311, CleanStart::Never, false),
            (V5, CleanStart::Always, true),
            (V5, CleanStart::Never, true),
        ] {
            let mut settings = Settings::new("");
            settings.version = version;
            settings.clean_start = clean_start;
            let expected = if is_fine {
                Ok(())
            } else {
                Err(SettingsError::ClientIdRequired)
            };
            assert_eq!(settings.check(), expected, "{version} {clean_start:?}");
        }
    }

    #[test]
    fn a_session_that_is_resumed_does_not_expire_unless_told_so() {
        for (clean_start, given, expected) in [
            (CleanStart::Always, None, None),
            (CleanStart::Always, Some(0), None),
            (CleanStart::FirstOnly, None, Some(u32::MAX)),
            (CleanStart::Never, None, Some(u32::MAX)),
            (CleanStart::Never, Some(60), Some(60)),
        ] {
            let mut settings = Settings::new("a");
            settings.clean_start = clean_start;
            settings.session_expiry = given;
            let connect = settings.connect(false, false).unwrap();
            assert_eq!(connect.properties.session_expiry_interval(), expected);
        }
    }

    #[test]
    fn what_a_version_cannot_express_is_refused_before_a_connection_is_tried() {
        let mut settings = Settings::new("a");
        settings.properties = Properties::builder()
            .user_property("a", "b")
            .build()
            .unwrap();
        assert_eq!(settings.check(), Ok(()));
        settings.version = ProtocolVersion::V311;
        assert!(matches!(settings.check(), Err(SettingsError::Encode(_))));
    }
}
