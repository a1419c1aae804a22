//! Certificates, keys and revocation lists, from files in PEM.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    Error, InconsistentKeys, RootCertStore, SupportedProtocolVersion,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
    version,
};
use x509_cert::{
    Certificate,
    der::Decode as _,
    ext::pkix::{BasicConstraints, KeyUsage},
};

use super::{TlsConfigError, TlsVersion};

/// Where a certificate and its key are.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CertificateFiles {
    /// The certificate, followed by those that lead from it to its authority.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Names the two files.
    #[must_use]
    pub fn new(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            chain: chain.into(),
            key: key.into(),
        }
    }

    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsConfigError> {
        let chain: Vec<CertificateDer<'static>> = items(&self.chain, "certificate")?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| of_pem(&self.key, "private key", error))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let mismatch = Error::InconsistentKeys(InconsistentKeys::KeyMismatch);
            if error == mismatch {
                let (chain, key) = (self.chain.clone(), self.key.clone());
                TlsConfigError::KeyMismatch { chain, key }
            } else if let Error::InvalidCertificate(_) = error {
                TlsConfigError::unusable(&self.chain, error)
            } else {
                TlsConfigError::unusable(&self.key, error)
            }
        })
    }
}

/// Reads the authorities to trust; never returns an empty set, which would mean "trust nobody" here
/// and "do not look" elsewhere.
pub(super) fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in items(path, "certificate")? {
        roots
            .add(certificate)
            .map_err(|error| TlsConfigError::unusable(path, error))?;
    }
    Ok(Arc::new(roots))
}

/// Reads the authorities to trust from all files of a directory that have any. What else is there
/// is passed over: keys, texts, certificates of those who may sign nothing. Only a file that begins
/// a certificate and spoils it is an error: it may be the one that is missed.
pub(super) fn roots_in(directory: &Path) -> Result<Arc<RootCertStore>, TlsConfigError> {
    let unreadable = |error: io::Error| TlsConfigError::Unreadable {
        path: directory.into(),
        kind: error.kind(),
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    let mut roots = RootCertStore::empty();
    let mut closed = None;
    for path in &paths {
        let certificates = match items(path, "certificate") {
            Err(error) if is_closed(&error) => {
                closed.get_or_insert(error);
                continue;
            }
            Err(error) if has_none(path, &error) => continue,
            result => result?,
        };
        for certificate in certificates.into_iter().filter(is_authority) {
            roots
                .add(certificate)
                .map_err(|error| TlsConfigError::unusable(path, error))?;
        }
    }
    if roots.is_empty() {
        let (path, item) = (directory.into(), "certificate");
        // What may not be read might have been it.
        return Err(closed.unwrap_or(TlsConfigError::Missing { path, item }));
    }
    Ok(Arc::new(roots))
}

/// Says whether a file is not for us to read: such as the key of an authority beside its certificate.
fn is_closed(error: &TlsConfigError) -> bool {
    let kind = io::ErrorKind::PermissionDenied;
    matches!(error, TlsConfigError::Unreadable { kind: found, .. } if *found == kind)
}

/// Says whether what is wrong with a file is only that it holds other things than certificates.
fn has_none(path: &Path, error: &TlsConfigError) -> bool {
    const BEGINNING: &[u8] = b"-----BEGIN CERTIFICATE-----";
    if let TlsConfigError::NotPem { .. } = error {
        // Keys with a passphrase are in a PEM of their own, for one.
        return fs::read(path).is_ok_and(|bytes| {
            let mut parts = bytes.windows(BEGINNING.len());
            !parts.any(|part| part == BEGINNING)
        });
    }
    matches!(error, TlsConfigError::Missing { .. })
}

/// Says whether a certificate may sign others. The store does not ask that of those it is given: a
/// client's certificate that lies beside its authority would sign for anybody.
///
/// Where nothing is said of it, as in version 1, it may if it is signed by nobody but itself.
fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return true; // The store says what is wrong with it.
    };
    let certificate = certificate.tbs_certificate();
    let may_sign = match certificate.get_extension::<BasicConstraints>() {
        Ok(Some((_, constraints))) => constraints.ca,
        Ok(None) => certificate.issuer() == certificate.subject(),
        Err(_) => false,
    };
    let is_meant_to = match certificate.get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) => usage.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    may_sign && is_meant_to
}

/// Reads revocation lists.
pub(super) fn crls(
    paths: &[PathBuf],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsConfigError> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(items(path, "revocation list")?);
    }
    Ok(all)
}

/// Returns the versions from `least` on.
pub(super) fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static V1_3: [&SupportedProtocolVersion; 1] = [&version::TLS13];
    static V1_2: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match least {
        TlsVersion::V1_2 => &V1_2,
        TlsVersion::V1_3 => &V1_3,
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}

pub(super) fn alpn(protocols: &[Box<str>]) -> Vec<Vec<u8>> {
    protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect()
}

/// Reads everything of one kind from a file: one at least.
fn items<T: PemObject>(path: &Path, item: &'static str) -> Result<Vec<T>, TlsConfigError> {
    let of_file = |error| of_pem(path, item, error);
    let all: Result<Vec<T>, _> = T::pem_file_iter(path).map_err(of_file)?.collect();
    match all.map_err(of_file)? {
        none if none.is_empty() => Err(of_file(pem::Error::NoItemsFound)),
        some => Ok(some),
    }
}

fn of_pem(path: &Path, item: &'static str, error: pem::Error) -> TlsConfigError {
    let path = path.into();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's list of errors is open"
    )]
    match error {
        pem::Error::Io(error) => TlsConfigError::Unreadable {
            path,
            kind: error.kind(),
        },
        pem::Error::NoItemsFound => TlsConfigError::Missing { path, item },
        _ => TlsConfigError::NotPem { path },
    }
}
