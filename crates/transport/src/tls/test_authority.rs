//! Certificates for tests, in files.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::{CertificateFiles, ClientAuthentication, TlsClientOptions, TlsServerOptions};

/// An authority, and what it signs, in a directory that goes away with the test.
pub(crate) struct Authority {
    pub(crate) directory: PathBuf,
    pub(crate) issuer: Issuer<'static, KeyPair>,
    /// What leads from here to an authority that is trusted, in PEM.
    chain: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let (params, directory) = Self::params();
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.join("ca"), certificate.pem()).unwrap();
        Self {
            directory,
            issuer: Issuer::new(params, key),
            chain: String::new(),
        }
    }

    fn params() -> (CertificateParams, PathBuf) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mqttstack-tls-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Authority {number}"));
        (params, directory)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.join("ca")
    }

    /// Signs a certificate for `host`, changed by `change`, and writes it as `name`.
    pub(crate) fn sign(
        &self,
        name: &str,
        host: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateFiles {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = CertificateFiles::new(
            self.directory.join(format!("{name}.crt")),
            self.directory.join(format!("{name}.key")),
        );
        fs::write(&files.chain, certificate.pem() + &self.chain).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    pub(crate) fn server(&self) -> TlsServerOptions {
        TlsServerOptions::new(self.sign("server", "localhost", |_| {}))
    }

    /// Demands certificates that this authority has signed.
    pub(crate) fn mutual(&self) -> TlsServerOptions {
        TlsServerOptions {
            client_authentication: ClientAuthentication::Required,
            client_authorities: Some(self.ca()),
            ..self.server()
        }
    }

    pub(crate) fn client(&self) -> TlsClientOptions {
        TlsClientOptions::new(self.ca())
    }

    /// Makes an authority below this one, in a directory of its own; behind what it signs stands
    /// its own certificate, which has the number `serial`.
    pub(crate) fn below(&self, serial: u64) -> Self {
        let (mut params, directory) = Self::params();
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(directory.join("ca"), certificate.pem()).unwrap();
        Self {
            directory,
            issuer: Issuer::new(params, key),
            chain: certificate.pem() + &self.chain,
        }
    }

    pub(crate) fn crl(&self, name: &str, serials: &[u64]) -> PathBuf {
        self.crl_until(2099, name, serials)
    }

    /// Writes a revocation list that is in force until a year begins.
    pub(crate) fn crl_until(&self, year: i32, name: &str, serials: &[u64]) -> PathBuf {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let crl = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.directory.join(name);
        fs::write(&path, crl.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
