//! The certificates of a scenario: an authority, what it signs, and what nobody should take.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// Files in PEM, in the folder of a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Certificates(PathBuf);

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes them all in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let made = Self(folder.to_path_buf());
        let authority = made.authority("ca")?;
        made.authority("stranger")?;
        made.sign(&authority, "server", &["localhost"], 4000)?;
        made.sign(&authority, "expired", &["localhost"], 2001)?;
        made.sign(&authority, "elsewhere", &["elsewhere.example"], 4000)?;
        made.sign(&authority, "client", &[], 4000)?;
        Ok(made)
    }

    /// Who signed all of them.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// Who signed none of them.
    pub(crate) fn stranger_file(&self) -> PathBuf {
        self.0.join("stranger.pem")
    }

    pub(crate) fn server(&self) -> Pair {
        self.pair("server")
    }

    /// A server's, which is valid no longer.
    pub(crate) fn expired(&self) -> Pair {
        self.pair("expired")
    }

    /// A server's, for another host.
    pub(crate) fn elsewhere(&self) -> Pair {
        self.pair("elsewhere")
    }

    pub(crate) fn client(&self) -> Pair {
        self.pair("client")
    }

    fn pair(&self, name: &str) -> Pair {
        Pair {
            chain: self.0.join(format!("{name}.pem")),
            key: self.0.join(format!("{name}.key")),
        }
    }

    fn authority(&self, name: &str) -> Result<Issuer<'static, KeyPair>> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Authority {name}"));
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        self.write(name, &certificate.pem(), &key)?;
        Ok(Issuer::new(params, key))
    }

    fn sign(
        &self,
        issuer: &Issuer<'static, KeyPair>,
        name: &str,
        hosts: &[&str],
        year_of_end: i32,
    ) -> Result<()> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let is_here = hosts.iter().any(|host| host == "localhost");
        let mut params = CertificateParams::new(hosts)?;
        if is_here {
            let address = SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));
            params.subject_alt_names.push(address);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year_of_end, 1, 1);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        self.write(name, &certificate.pem(), &key)
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) -> Result<()> {
        let Pair {
            chain,
            key: key_file,
        } = self.pair(name);
        fs::write(chain, certificate).context("writing a certificate")?;
        fs::write(key_file, key.serialize_pem()).context("writing a key")
    }
}
