//! What goes wrong with TLS: on a connection, and while the configuration is read.

use std::{io, path::Path, path::PathBuf};

use rustls::{AlertDescription, CertificateError, Error};

/// Why a TLS connection did not come about, or ended before its time.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// The peer's first byte opens no TLS connection.
    #[error("the peer does not speak TLS")]
    PeerSpeaksPlain,
    /// The server went away without a word when the client opened TLS.
    #[error("the peer closed the connection when TLS was opened; it may not speak TLS")]
    Unanswered,
    /// The peer's certificate is no longer valid.
    #[error("the peer's certificate has expired")]
    CertificateExpired,
    /// The peer's certificate is not valid yet; or the clock of this machine is wrong.
    #[error("the peer's certificate is not valid yet")]
    CertificateNotYetValid,
    /// The peer's certificate was revoked.
    #[error("the peer's certificate has been revoked")]
    CertificateRevoked,
    /// No revocation list says anything about the issuer of the peer's certificate.
    #[error("no revocation list covers the peer's certificate")]
    RevocationUnknown,
    /// The revocation list that covers the peer's certificate is past its next update.
    #[error("the revocation list for the peer's certificate has expired")]
    RevocationListExpired,
    /// Nobody trusted has signed the peer's certificate.
    #[error("the peer's certificate is not signed by a trusted authority")]
    AuthorityUnknown,
    /// The peer's certificate is for another host.
    #[error("the peer's certificate is not valid for `{host}`")]
    HostMismatch {
        /// Whom it should name.
        host: Box<str>,
    },
    /// The peer's certificate cannot be used.
    #[error("the peer's certificate is invalid: {reason}")]
    CertificateInvalid {
        /// What is wrong with it, in the words of the library.
        reason: Box<str>,
    },
    /// A certificate was demanded, and the client has none, or none that fits.
    #[error("the client has no certificate")]
    ClientCertificateMissing,
    /// The two ends share no protocol for the bytes inside.
    #[error("no common application protocol")]
    ProtocolMismatch,
    /// The two ends share no version, or no way to encrypt.
    #[error("no common version or cipher: {reason}")]
    Incompatible {
        /// What is missing, in the words of the library.
        reason: Box<str>,
    },
    /// The peer ended the connection with an alert.
    #[error("the peer refused: {alert}")]
    PeerRefused {
        /// The name of the alert.
        alert: Box<str>,
    },
    /// The peer broke the rules of TLS.
    #[error("the peer broke the rules of TLS: {reason}")]
    PeerMisbehaved {
        /// How, in the words of the library.
        reason: Box<str>,
    },
    /// The server's name can stand in no certificate.
    #[error("`{name}` is not a host name or address")]
    ServerNameInvalid {
        /// What was given.
        name: Box<str>,
    },
    /// This side cannot use its own configuration.
    #[error("TLS failed on this side: {reason}")]
    Local {
        /// Why, in the words of the library.
        reason: Box<str>,
    },
}

/// Names the cause of an error of the library; `host` is whom a client meant to reach.
impl TlsError {
    pub(super) fn of(error: &Error, host: &str) -> Self {
        let reason = || error.to_string().into();
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's list of errors is open"
        )]
        match error {
            Error::InvalidCertificate(cause) => Self::of_certificate(cause, host),
            Error::NoCertificatesPresented => Self::ClientCertificateMissing,
            Error::NoApplicationProtocol => Self::ProtocolMismatch,
            Error::PeerIncompatible(_) => Self::Incompatible { reason: reason() },
            Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired => Self::ClientCertificateMissing,
                AlertDescription::NoApplicationProtocol => Self::ProtocolMismatch,
                AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
                    Self::Incompatible { reason: reason() }
                }
                alert => Self::PeerRefused {
                    alert: format!("{alert:?}").into(),
                },
            },
            Error::General(_)
            | Error::FailedToGetCurrentTime
            | Error::FailedToGetRandomBytes
            | Error::EncryptError
            | Error::HandshakeNotComplete
            | Error::BadMaxFragmentSize
            | Error::InconsistentKeys(_) => Self::Local { reason: reason() },
            _ => Self::PeerMisbehaved { reason: reason() },
        }
    }

    /// Says whether `error` is this one, on its way through the library.
    pub(super) fn is_inside(&self, error: &io::Error) -> bool {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        inner == Some(self)
    }

    fn of_certificate(cause: &CertificateError, host: &str) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's list of causes is open"
        )]
        match cause {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Self::CertificateExpired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::CertificateNotYetValid
            }
            CertificateError::Revoked => Self::CertificateRevoked,
            CertificateError::UnknownRevocationStatus => Self::RevocationUnknown,
            CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::RevocationListExpired,
            // A bad signature is that of another authority with the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::AuthorityUnknown
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::HostMismatch { host: host.into() }
            }
            cause => Self::CertificateInvalid {
                reason: format!("{cause:?}").into(),
            },
        }
    }
}

/// Takes the error through the functions of a stream.
impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Why a TLS configuration cannot be used.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TlsConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {kind}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// A file is not in PEM.
    #[error("{} is not valid PEM", path.display())]
    NotPem {
        /// Which one.
        path: PathBuf,
    },
    /// A file holds nothing of the kind that it is there for.
    #[error("{} holds no {item}", path.display())]
    Missing {
        /// Which one.
        path: PathBuf,
        /// What is missing.
        item: &'static str,
    },
    /// A file holds something that cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    Unusable {
        /// Which one.
        path: PathBuf,
        /// Why, in the words of the library.
        reason: Box<str>,
    },
    /// A key does not belong to its certificate.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), chain.display())]
    KeyMismatch {
        /// Where the certificate is.
        chain: PathBuf,
        /// Where the key is.
        key: PathBuf,
    },
    /// A server has no certificate.
    #[error("a server needs a certificate")]
    CertificateMissing,
    /// Clients are to show certificates, and nobody is named who may sign them; or a client has
    /// nobody to trust.
    #[error("no authority is named; without one nothing would be verified")]
    AuthorityMissing,
    /// A configuration that did not come from files cannot be read again.
    #[error("this configuration did not come from files")]
    NoFiles,
    /// The library refuses the configuration.
    #[error("unusable configuration: {reason}")]
    Refused {
        /// Why, in the words of the library.
        reason: Box<str>,
    },
}

impl TlsConfigError {
    pub(super) fn unusable(path: &Path, reason: impl ToString) -> Self {
        Self::Unusable {
            path: path.into(),
            reason: reason.to_string().into(),
        }
    }

    pub(super) fn refused(reason: impl ToString) -> Self {
        Self::Refused {
            reason: reason.to_string().into(),
        }
    }
}
