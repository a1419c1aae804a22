//! The client's side of TLS.

use core::fmt;
use std::{path::PathBuf, sync::Arc};

#[cfg(feature = "webpki-roots")]
use rustls::RootCertStore;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
};

use super::{
    CertificateFiles, RevocationPolicy, TlsConfigError, TlsError, TlsStream, TlsVersion,
    files::{alpn, crls, provider, roots, roots_in, versions},
};
use crate::Stream;

/// Who may sign the certificates of servers, in the eyes of a client.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Authorities {
    /// Those in a file, in PEM.
    File(PathBuf),
    /// Those in the files of a directory, in PEM, whatever their names. Files without certificates
    /// are passed over, and those that may not be read; so are certificates that are no
    /// authority's, such as a client's. One that is damaged is an error.
    Directory(PathBuf),
    /// Those that the system trusts, in the way that the system has.
    #[cfg(feature = "platform-roots")]
    System,
    /// Those that Mozilla trusted when the program was built.
    #[cfg(feature = "webpki-roots")]
    Mozilla,
}

impl Authorities {
    /// Returns whom a client trusts that names nobody: the authorities of the system if they are
    /// built in, else those of Mozilla if they are.
    const fn usual() -> Option<Self> {
        #[cfg(feature = "platform-roots")]
        return Some(Self::System);
        #[cfg(all(feature = "webpki-roots", not(feature = "platform-roots")))]
        return Some(Self::Mozilla);
        #[cfg(not(any(feature = "webpki-roots", feature = "platform-roots")))]
        return None;
    }
}

/// Whom a client trusts, and what it shows.
///
/// What is not said here can be said in a configuration of rustls, which
/// [`TlsClient::from_config`] takes as it is.
#[non_exhaustive]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsClientOptions {
    /// Who may sign the server's certificate. Default: `None`, which is the system's authorities
    /// with feature `platform-roots`, else Mozilla's with feature `webpki-roots`; with neither, and
    /// unless `is_insecure`, somebody has to be named.
    pub authorities: Option<Authorities>,
    /// Revocation lists for servers' certificates, in PEM. Default: none, and nothing is looked up.
    /// Not for the authorities of the system, which have their own ways.
    pub revocation_lists: Vec<PathBuf>,
    /// What these lists are held to.
    pub revocation: RevocationPolicy,
    /// The certificate to show when the server asks for one.
    pub certificate: Option<CertificateFiles>,
    /// The protocols offered for the bytes inside (ALPN), the best one first. Default: none.
    pub protocols: Vec<Box<str>>,
    /// Takes 1.3 only. Default: `false`, which takes 1.2 as well.
    pub is_v1_3_only: bool,
    /// **Takes any certificate from anybody**, so that whoever is on the way can read and change
    /// everything. For experiments. Default: `false`.
    pub is_insecure: bool,
}

impl TlsClientOptions {
    /// Trusts the authorities in a file.
    #[must_use]
    pub fn new(authorities: impl Into<PathBuf>) -> Self {
        Self {
            authorities: Some(Authorities::File(authorities.into())),
            ..Self::default()
        }
    }

    fn load(&self) -> Result<ClientConfig, TlsConfigError> {
        let provider = provider();
        let version_min = if self.is_v1_3_only {
            TlsVersion::V1_3
        } else {
            TlsVersion::V1_2
        };
        let verifier = self.server_verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(version_min))
            .map_err(TlsConfigError::refused)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let certified = files.load(&provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        config.alpn_protocols = alpn(&self.protocols);
        Ok(config)
    }

    fn server_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
        if self.is_insecure {
            return Ok(Arc::new(Anybody(Arc::clone(provider))));
        }
        let roots = match self.authorities.clone().or_else(Authorities::usual) {
            None => return Err(TlsConfigError::AuthorityMissing),
            Some(Authorities::File(path)) => roots(&path)?,
            Some(Authorities::Directory(path)) => roots_in(&path)?,
            #[cfg(feature = "platform-roots")]
            Some(Authorities::System) => return self.system_verifier(provider),
            #[cfg(feature = "webpki-roots")]
            Some(Authorities::Mozilla) => Arc::new(RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            }),
        };
        let mut builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .with_crls(crls(&self.revocation_lists)?);
        let policy = self.revocation;
        if !policy.checks_chain {
            builder = builder.only_check_end_entity_revocation();
        }
        if policy.refuses_expired_lists {
            builder = builder.enforce_revocation_expiration();
        }
        if !policy.refuses_unknown {
            builder = builder.allow_unknown_revocation_status();
        }
        Ok(builder.build().map_err(TlsConfigError::refused)?)
    }

    #[cfg(feature = "platform-roots")]
    fn system_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
        if !self.revocation_lists.is_empty() {
            return Err(TlsConfigError::refused(
                "revocation lists need authorities from a file",
            ));
        }
        let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(provider));
        Ok(Arc::new(verifier.map_err(TlsConfigError::refused)?))
    }
}

/// The client's end of TLS; clones share the sessions to resume.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// Reads the files that `options` name.
    ///
    /// # Errors
    ///
    /// [`TlsConfigError`], which names the file.
    pub fn load(options: &TlsClientOptions) -> Result<Self, TlsConfigError> {
        options
            .load()
            .map(|config| Self::from_config(Arc::new(config)))
    }

    /// Takes a configuration of rustls as it is.
    #[must_use]
    pub const fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }

    /// Puts the layer over a stream to the server called `host`, by name or by address; its
    /// certificate has to say so.
    ///
    /// # Errors
    ///
    /// [`TlsError::ServerNameInvalid`].
    pub fn connect<S: Stream>(&self, stream: S, host: &str) -> Result<TlsStream<S>, TlsError> {
        // A certificate names hosts without the final dot of a full name.
        let bare = host.strip_suffix('.').unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned());
        let name = name.map_err(|_| TlsError::ServerNameInvalid { name: host.into() })?;
        let session = ClientConnection::new(Arc::clone(&self.config), name);
        let session = session.map_err(|error| TlsError::of(&error, bare))?;
        Ok(TlsStream::new(stream, Ok(session.into()), bare))
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

/// Takes any certificate, as long as the server has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
