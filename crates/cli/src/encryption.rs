//! The options of TLS that `pub` and `sub` share.

use std::path::PathBuf;

use mqttstack_client::{
    Builder,
    transport::{Authorities, CertificateFiles, TlsClientOptions},
};

/// Whom to trust, and what to show.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Encryption")]
pub(crate) struct Encryption {
    /// Use TLS, and trust the authorities in a file, in PEM.
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// Use TLS, and trust the authorities in the files of a directory, in PEM.
    #[arg(long, value_name = "DIR", conflicts_with = "cafile")]
    capath: Option<PathBuf>,
    /// Use TLS, and trust the authorities that the system trusts; the default of mqtts:// and wss://.
    #[arg(long, alias = "tls-use-os-certs", conflicts_with_all = ["cafile", "capath"])]
    tls: bool,
    /// Use TLS, and show a certificate, in PEM (needs --key).
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM (needs --cert).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Use TLS, and take any certificate from anybody: no protection against who is on the way.
    #[arg(long, conflicts_with_all = ["cafile", "capath", "tls"])]
    insecure: bool,
    /// Use TLS, and no version before this one: tlsv1.2, which is the default, or tlsv1.3.
    #[arg(long, value_name = "VERSION", value_parser = ["tlsv1.2", "tlsv1.3"])]
    tls_version: Option<String>,
    /// Use TLS, and offer this protocol (ALPN); may be repeated, the best one first.
    #[arg(long, value_name = "PROTOCOL", alias = "tls-alpn")]
    alpn: Vec<String>,
    /// Use TLS, and expect this name in the server's certificate instead of the host.
    #[arg(long, value_name = "NAME")]
    servername: Option<String>,
}

impl Encryption {
    /// Says whether any option asks for TLS.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.cafile.is_some()
            || self.capath.is_some()
            || self.tls_version.is_some()
            || self.tls
            || self.cert.is_some()
            || self.insecure
            || !self.alpn.is_empty()
            || self.servername.is_some()
    }

    /// Hands the options to a client, if there is one.
    pub(crate) fn apply(&self, builder: Builder) -> Builder {
        if !self.is_wanted() {
            return builder;
        }
        let mut options = TlsClientOptions::default();
        options.authorities = match (&self.cafile, &self.capath) {
            (Some(file), _) => Some(Authorities::File(file.clone())),
            (None, Some(directory)) => Some(Authorities::Directory(directory.clone())),
            (None, None) => None,
        };
        options.is_v1_3_only = self.tls_version.as_deref() == Some("tlsv1.3");
        if let (Some(chain), Some(key)) = (&self.cert, &self.key) {
            options.certificate = Some(CertificateFiles::new(chain, key));
        }
        options.protocols = self.alpn.iter().map(|name| (&**name).into()).collect();
        options.is_insecure = self.insecure;
        let builder = builder.tls(options);
        match &self.servername {
            Some(name) => builder.server_name(name),
            None => builder,
        }
    }
}
