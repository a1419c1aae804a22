//! TLS 1.2 and 1.3 over any stream, both roles, on rustls.

mod certificate;
mod client;
mod error;
mod files;
mod revocation;
mod server;
mod stream;
#[cfg(test)]
pub(crate) mod test_authority;

pub use certificate::{CertificateFacts, TlsFacts, TlsVersion};
pub use client::{Authorities, TlsClient, TlsClientOptions};
pub use error::{TlsConfigError, TlsError};
pub use files::CertificateFiles;
pub use revocation::RevocationPolicy;
pub use server::{ClientAuthentication, TlsServer, TlsServerOptions};
pub use stream::TlsStream;

#[cfg(test)]
mod tests;
