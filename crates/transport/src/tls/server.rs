//! The server's side of TLS, with a configuration that can be replaced while it runs.

use core::fmt;
use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig, ServerConnection,
    client::verify_server_name,
    crypto::{CryptoProvider, ring::Ticketer},
    pki_types::ServerName,
    server::{
        ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert,
        WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};

use super::{
    CertificateFiles, RevocationPolicy, TlsConfigError, TlsError, TlsStream, TlsVersion,
    files::{alpn, crls, provider, roots, versions},
};
use crate::{Layer, Stream};

/// What a server shows, and what it demands.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsServerOptions {
    /// The certificates: the client's server name chooses, and the first one serves the others.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients show certificates. Default: they do not.
    pub client_authentication: ClientAuthentication,
    /// Who may sign the certificates of clients, in PEM.
    pub client_authorities: Option<PathBuf>,
    /// Revocation lists for the certificates of clients, in PEM. Default: none, and nothing is
    /// looked up.
    pub revocation_lists: Vec<PathBuf>,
    /// What these lists are held to.
    pub revocation: RevocationPolicy,
    /// The protocols offered for the bytes inside (ALPN), the best one first. Default: none. If there
    /// is one, clients that name protocols and none of these are refused; clients that name none are
    /// not.
    pub protocols: Vec<Box<str>>,
    /// The least version accepted. Default: 1.2.
    pub version_min: TlsVersion,
}

impl TlsServerOptions {
    /// Shows one certificate, and demands none.
    #[must_use]
    pub fn new(certificate: CertificateFiles) -> Self {
        Self {
            certificates: vec![certificate],
            client_authentication: ClientAuthentication::None,
            client_authorities: None,
            revocation_lists: Vec::new(),
            revocation: RevocationPolicy::default(),
            protocols: Vec::new(),
            version_min: TlsVersion::V1_2,
        }
    }

    fn load(&self) -> Result<Arc<ServerConfig>, TlsConfigError> {
        let provider = provider();
        let certificates = Certificates::load(&self.certificates, &provider)?;
        let verifier = self.client_verifier(&provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(self.version_min))
            .map_err(TlsConfigError::refused)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = alpn(&self.protocols);
        // Tickets live at the client: sessions resume without memory here. Their key is new with
        // each configuration, so that none outlives the authorities that it was verified by.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(TlsConfigError::refused)?;
        Ok(Arc::new(config))
    }

    fn client_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
        let is_required = match self.client_authentication {
            ClientAuthentication::None => return Ok(WebPkiClientVerifier::no_client_auth()),
            ClientAuthentication::Optional => false,
            ClientAuthentication::Required => true,
        };
        let Some(authorities) = &self.client_authorities else {
            return Err(TlsConfigError::AuthorityMissing);
        };
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(roots(authorities)?, Arc::clone(provider))
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
        if !is_required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(TlsConfigError::refused)
    }
}

/// Whether clients show certificates.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClientAuthentication {
    /// They are not asked.
    None,
    /// They are asked, and may have none; one that they show must be valid.
    Optional,
    /// Without a valid one there is no connection.
    Required,
}

/// The server's end of TLS: a [`Layer`] over accepted streams.
///
/// Clones share one configuration: replacing it is seen by all of them from the next connection on,
/// and by no connection before.
#[derive(Clone)]
pub struct TlsServer {
    shared: Arc<Shared>,
}

struct Shared {
    options: Option<TlsServerOptions>,
    config: ArcSwap<ServerConfig>,
}

impl TlsServer {
    /// Reads the files that `options` name.
    ///
    /// # Errors
    ///
    /// [`TlsConfigError`], which names the file.
    pub fn load(options: TlsServerOptions) -> Result<Self, TlsConfigError> {
        let config = ArcSwap::new(options.load()?);
        let options = Some(options);
        Ok(Self {
            shared: Arc::new(Shared { options, config }),
        })
    }

    /// Takes a configuration of rustls as it is.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        let (options, config) = (None, ArcSwap::new(config));
        Self {
            shared: Arc::new(Shared { options, config }),
        }
    }

    /// Reads all files again, and uses them together from the next connection on.
    ///
    /// # Errors
    ///
    /// [`TlsConfigError`], which names the file; the configuration before stays in force as a whole.
    pub fn reload(&self) -> Result<(), TlsConfigError> {
        let options = self
            .shared
            .options
            .as_ref()
            .ok_or(TlsConfigError::NoFiles)?;
        self.replace(options.load()?);
        Ok(())
    }

    /// Returns the files that [`reload`](Self::reload) reads; none for a configuration of rustls.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(options) = &self.shared.options else {
            return Vec::new();
        };
        let certificates = options.certificates.iter();
        certificates
            .flat_map(|files| [&files.chain, &files.key])
            .chain(&options.client_authorities)
            .chain(&options.revocation_lists)
            .cloned()
            .collect()
    }

    /// Uses another configuration from the next connection on.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        self.shared.config.store(config);
    }

    /// Puts the layer over one stream; its handshake waits for the client's greeting.
    pub fn accept<S: Stream>(&self, stream: S) -> TlsStream<S> {
        let session = ServerConnection::new(self.shared.config.load_full());
        let session = session.map(Into::into);
        TlsStream::new(
            stream,
            session.map_err(|error| TlsError::of(&error, "")),
            "",
        )
    }
}

impl Layer for TlsServer {
    fn wrap(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        Box::new(self.accept(stream))
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

/// Chooses the certificate that names the host a client asks for.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    fn load(files: &[CertificateFiles], provider: &CryptoProvider) -> Result<Self, TlsConfigError> {
        if files.is_empty() {
            return Err(TlsConfigError::CertificateMissing);
        }
        let load = |files: &CertificateFiles| files.load(provider).map(Arc::new);
        files.iter().map(load).collect::<Result<_, _>>().map(Self)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |certified: &&Arc<CertifiedKey>| {
            certified
                .key
                .choose_scheme(hello.signature_schemes())
                .is_some()
        };
        let name = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let names_it = |certified: &&Arc<CertifiedKey>| {
            let parsed = certified
                .end_entity_cert()
                .and_then(ParsedCertificate::try_from);
            match (&name, parsed) {
                (Some(name), Ok(parsed)) => verify_server_name(&parsed, name).is_ok(),
                (None, _) | (_, Err(_)) => false,
            }
        };
        let named = self.0.iter().filter(names_it).find(fits);
        named.or_else(|| self.0.iter().find(fits)).cloned()
    }
}
