//! What a command ends with when it does not end well: a code for scripts, a message for people.

use std::io;

use mqttstack_client::{
    BuilderError, ConnectError, OperationError, ServerUrl,
    codec::{ProtocolVersion, ReasonCode},
    core::RequestError,
    session::{Undelivered, client::RequestError as Unsendable},
    transport::{TlsError, TransportError, TunnelError, WebSocketError},
};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// What happened; empty where there is nothing to say.
    message: String,
    /// What to do about it.
    hint: Option<String>,
}

impl Failure {
    pub(crate) const USAGE: u8 = 1;
    pub(crate) const USAGE_BESIDE_VERDICT: u8 = 2;
    const NETWORK: u8 = 2;
    const REFUSED: u8 = 3;
    const TIMED_OUT: u8 = 4;
    const INTERRUPTED: u8 = 130;

    const fn new(code: u8, message: String) -> Self {
        Self {
            code,
            message,
            hint: None,
        }
    }

    /// The arguments do not make sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            hint: Some("see --help".into()),
            ..Self::new(Self::USAGE, message.into())
        }
    }

    /// For the commands whose answer is their exit code: 1 is a no, so what is wrong with the
    /// arguments or the input is [`USAGE_BESIDE_VERDICT`](Self::USAGE_BESIDE_VERDICT).
    pub(crate) fn beside_verdict(self) -> Self {
        match self.code {
            Self::USAGE => Self {
                code: Self::USAGE_BESIDE_VERDICT,
                ..self
            },
            _ => self,
        }
    }

    /// The answer is no; it has been given already.
    pub(crate) const fn verdict(code: u8) -> Self {
        Self::new(code, String::new())
    }

    /// The network, or the system, does not do what is asked of it.
    pub(crate) fn system(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            hint: hint.map(Into::into),
            ..Self::new(Self::NETWORK, message.into())
        }
    }

    /// The configuration is wrong.
    pub(crate) fn configuration(message: impl Into<String>, hint: &str) -> Self {
        Self {
            hint: Some(hint.into()),
            ..Self::new(Self::USAGE, message.into())
        }
    }

    /// A file or standard input cannot be read.
    pub(crate) fn input(what: &str, error: &io::Error) -> Self {
        Self::new(Self::USAGE, format!("cannot read {what}: {error}"))
    }

    /// Standard output cannot be written; a reader that has gone away is no failure.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(0, String::new());
        }
        Self::new(Self::USAGE, format!("cannot write the output: {error}"))
    }

    /// The server said no.
    pub(crate) const fn refused(message: String) -> Self {
        Self::new(Self::REFUSED, message)
    }

    pub(crate) const fn timed_out(message: String) -> Self {
        Self::new(Self::TIMED_OUT, message)
    }

    /// SIGINT or SIGTERM.
    pub(crate) const fn interrupted() -> Self {
        Self::new(Self::INTERRUPTED, String::new())
    }

    /// The client could not be made, or did not get its first connection.
    pub(crate) fn builder(
        error: BuilderError,
        server: &ServerUrl,
        version: ProtocolVersion,
    ) -> Self {
        let BuilderError::Connect(error) = error else {
            return Self::usage(error.to_string());
        };
        let failure = Self::connect(&error, server);
        // Only here: a server that has accepted the client once speaks its version.
        let may_be_the_version = matches!(
            error,
            ConnectError::Closed
                | ConnectError::Transport(TransportError::Closed | TransportError::Reset)
                | ConnectError::Refused {
                    reason_code: ReasonCode::UnsupportedProtocolVersion,
                    ..
                }
        );
        if may_be_the_version {
            let hint = Some(hint_for_version(version, server.has_tls()));
            return Self { hint, ..failure };
        }
        failure
    }

    /// There is no connection, or no more.
    pub(crate) fn connect(error: &ConnectError, server: &ServerUrl) -> Self {
        let message = format!("{server}: {error}");
        match error {
            ConnectError::Refused { reason_code, .. }
            | ConnectError::Disconnected { reason_code, .. } => Self {
                hint: hint_for_refusal(*reason_code),
                ..Self::refused(message)
            },
            ConnectError::Dns(_) => Self {
                hint: Some("check the host given with -h".into()),
                ..Self::new(Self::NETWORK, error.to_string())
            },
            ConnectError::Transport(TransportError::Refused { .. }) => Self {
                hint: Some("is the broker running? -h and -p say where it listens".into()),
                ..Self::new(Self::NETWORK, error.to_string())
            },
            ConnectError::Transport(
                error @ (TransportError::Tls(_)
                | TransportError::WebSocket(_)
                | TransportError::Tunnel(_)),
            ) => Self {
                hint: hint_for_layer(error).map(Into::into),
                ..Self::new(Self::NETWORK, message)
            },
            ConnectError::Transport(TransportError::Closed | TransportError::Reset) => {
                Self::new(Self::NETWORK, message)
            }
            ConnectError::Timeout(_) | ConnectError::Transport(_) => {
                Self::new(Self::NETWORK, error.to_string())
            }
            ConnectError::TlsExpected => Self {
                hint: Some(
                    "--cafile names the authority to trust, --tls takes the system's".into(),
                ),
                ..Self::new(Self::NETWORK, message)
            },
            ConnectError::OpeningTimedOut(_)
            | ConnectError::Closed
            | ConnectError::Protocol(_)
            | ConnectError::Ended
            | ConnectError::WaitTimedOut(_)
            | _ => Self::new(Self::NETWORK, message),
        }
    }

    /// An operation did not succeed. `lost` is why the connection was lost, if it was.
    pub(crate) fn operation(
        error: &OperationError,
        lost: Option<&ConnectError>,
        server: &ServerUrl,
    ) -> Self {
        match (error, lost) {
            (error, _) if is_beyond_the_server(error) => {
                Self::refused(format!("{server}: {error}"))
            }
            (OperationError::Cancelled | OperationError::Undelivered(_), Some(lost))
                if *lost != ConnectError::Ended =>
            {
                Self::connect(lost, server)
            }
            (OperationError::Rejected { .. } | OperationError::Publish(_), _) => {
                Self::refused(format!("{server}: {error}"))
            }
            (OperationError::Request(_) | OperationError::Submit(_), _) => {
                Self::usage(error.to_string())
            }
            _ => Self::new(Self::NETWORK, format!("{server}: {error}")),
        }
    }

    /// Keeps the code and says nothing.
    pub(crate) const fn quiet(&self) -> Self {
        Self::new(self.code, String::new())
    }

    /// Says on standard error what happened.
    pub(crate) fn print(&self, command: &str) {
        if self.message.is_empty() {
            return;
        }
        eprintln!("mqttstack {command}: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("  {hint}");
        }
    }
}

/// Whether the server has said beforehand that it does not take this.
const fn is_beyond_the_server(error: &OperationError) -> bool {
    matches!(
        error,
        OperationError::Undelivered(
            Undelivered::TooLarge | Undelivered::QosNotSupported | Undelivered::RetainNotSupported
        ) | OperationError::Request(RequestError::Session(
            Unsendable::WildcardsNotSupported
                | Unsendable::SharedSubscriptionsNotSupported
                | Unsendable::SubscriptionIdentifiersNotSupported
                | Unsendable::PacketTooLarge { .. }
        ))
    )
}

/// What can be done about a layer that did not open.
const fn hint_for_layer(error: &TransportError) -> Option<&'static str> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only some causes can be helped"
    )]
    let hint = match error {
        TransportError::Tls(TlsError::PeerSpeaksPlain | TlsError::Unanswered) => {
            "is it the port for TLS? the usual one is 8883"
        }
        TransportError::Tls(TlsError::AuthorityUnknown) => "--cafile names the authority to trust",
        TransportError::Tls(TlsError::HostMismatch { .. }) => {
            "-h takes the name in the certificate; --servername expects another one than the host"
        }
        TransportError::Tls(TlsError::ClientCertificateMissing) => {
            "--cert and --key name the certificate to show"
        }
        TransportError::Tls(TlsError::ProtocolMismatch) => "--alpn says which protocols to offer",
        TransportError::WebSocket(WebSocketError::PeerSpeaksTls) => {
            "the server speaks TLS on this port; write wss:// in the URL"
        }
        TransportError::WebSocket(WebSocketError::NotHttp) => {
            "is it the port for WebSockets? the usual one is 8083"
        }
        TransportError::WebSocket(WebSocketError::Refused { status: 404 }) => {
            "the path in the URL may be another one"
        }
        TransportError::Tunnel(TunnelError::CredentialsRefused) => {
            "write user and password in the URL of the proxy"
        }
        _ => return None,
    };
    Some(hint)
}

/// The versions that are left when the server does not speak this one; and a server that wants TLS
/// may not say so either.
fn hint_for_version(version: ProtocolVersion, has_tls: bool) -> String {
    let others = match version {
        ProtocolVersion::V5 => "-V 311",
        ProtocolVersion::V311 => "-V 5 or -V 31",
        ProtocolVersion::V31 => "-V 311 or -V 5",
    };
    let tls = if has_tls {
        ""
    } else {
        "; or it may expect TLS (--cafile, --tls)"
    };
    format!("the server may not speak this version of MQTT; try {others}{tls}")
}

fn hint_for_refusal(reason_code: ReasonCode) -> Option<String> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only some codes can be helped"
    )]
    let hint = match reason_code {
        ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized => {
            "check the user name (-u) and the password (--password-file, MQTTSTACK_PASSWORD)"
        }
        ReasonCode::ClientIdentifierNotValid => "choose a client identifier with -i",
        _ => return None,
    };
    Some(hint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_try_the_version_that_failed() {
        let server = "mqtt://localhost".parse().expect("a server");
        for (version, own) in [
            (ProtocolVersion::V5, "-V 5"),
            (ProtocolVersion::V311, "-V 311"),
            (ProtocolVersion::V31, "-V 31"),
        ] {
            let error = BuilderError::Connect(ConnectError::Closed);
            let failure = Failure::builder(error, &server, version);
            let hint = failure.hint.expect("something to try");
            assert!(
                hint.contains("-V ") && hint.split([' ', ';']).all(|word| word != &own[3..]),
                "{own}: {hint}"
            );
        }
        let later = Failure::connect(&ConnectError::Closed, &server);
        assert_eq!((later.code, later.hint), (Failure::NETWORK, None));
    }

    #[test]
    fn what_the_server_does_not_take_is_a_refusal() {
        let server = "mqtt://localhost".parse().expect("a server");
        for (error, code) in [
            (
                OperationError::Request(RequestError::Session(Unsendable::WildcardsNotSupported)),
                Failure::REFUSED,
            ),
            (
                OperationError::Undelivered(Undelivered::TooLarge),
                Failure::REFUSED,
            ),
            (
                OperationError::Request(RequestError::TooManyRequests { maximum: 1 }),
                Failure::USAGE,
            ),
            (
                OperationError::Undelivered(Undelivered::Dropped),
                Failure::NETWORK,
            ),
        ] {
            assert_eq!(Failure::operation(&error, None, &server).code, code);
        }
    }
}
